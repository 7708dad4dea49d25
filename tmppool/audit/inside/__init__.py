"""The probes: attempts to break out, made inside a container.

``audit.canary`` passes the source of these modules to ``python3 -c`` in a container. So they import only the standard
library and each other, and run on Python 3.8. A probe holds (passes) if it observes the expected isolation. Probe names
never change, since ``--accept-risk`` and scripts use them.
"""
