"""tmppool: a click gives a live notebook. The rooms, from the ground up.

``errors``          what may go wrong, as types
``keys``            what a notebook's key looks like, and its public name
``jupyter_urls``    what a path below a notebook means: page, interaction, document
``running``         where a started notebook is reached: a dial, a base path, a token
``jupyter``         what the service asks of a notebook: does it answer, what computes, start a kernel
``notebook``        one notebook's life: a place, then what runs; states, reasons, the only mover
``policy``          ``plan(places, limits, weights, now)``: what to start, reap and ask; pure
``backends``        what runs notebooks: Docker Engine, processes, a fake; the same verbs each
``marks``           what is given away is marked by its backend, so that no ledger has to be believed for that
``pool``            the table of notebooks, which is the routing table too
``reconcile``       what a backend says of a pool, doubted until a second word agrees
``pools``           the named pools of one service
``ledger``          who got which notebook, when, until when: the facts the engine does not hold
``proxy``           a visitor's requests and WebSockets, to the notebook and back
``web``             the pages, the APIs, the admin listener
``audit``           probes from inside a container, checks of engine, host and limits; before serving, and on demand
``from_settings``   what each room gets of the settings
``backend_choice``  containers or processes: waits for an engine, refuses what processes must not serve
``app``             builds all of it, opens it in order, closes it in reverse
==================  ====================================================================================

Imports go downwards only; ``tests/test_architecture.py`` holds the floors.
"""

__version__ = "0.1.0"
