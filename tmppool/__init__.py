"""tmppool: a click gives a live notebook.

An HTTP reverse proxy stands in front of pools of notebooks that are kept warm, each assigned to one visitor and never
used again. ``docs/architecture.md`` has the modules, which of them may import which, and a line on each.
"""

__version__ = "0.1.0"
