"""The probes: a visitor's first attempts to get out, made from inside a container.

``audit.canary`` hands the text of these modules to ``python3 -c`` in a container of its own, so they import
nothing but the standard library and each other, and run on Python 3.8. A probe holds when what was observed is what
a notebook's profile promises. Its name never changes: ``--accept-risk`` and scripts name it.
"""
