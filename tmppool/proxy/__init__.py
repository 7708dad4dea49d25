"""A visitor's requests to the notebook, and its responses back. Both are hostile.

The layers, from the bottom up: messages are parsed by one grammar (``wire``, ``head_readers``, ``body``, ``target``),
and rules say which of their fields and cookies pass (``headers``, ``cookies``, ``handshake``). ``response`` and
``exchange`` carry one request and its response; ``route`` and ``application`` are the two destinations, and ``tunnel``
is what a WebSocket becomes. ``connection`` is a visitor's, and ``accept`` is where it begins. ``timeouts``,
``watchdog``, ``connection_timer``, ``fairness`` and ``connection_counts`` bound the time and the work of all of them.
"""
