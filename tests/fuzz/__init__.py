"""What strangers may send, drawn at random: nothing of it is a bug's way in.

Every run draws the same examples, so that none fails by chance. For a longer search set TMPPOOL_FUZZ to how many times
as many examples are to be drawn, anew each time::

    TMPPOOL_FUZZ=1000 .venv/bin/python -m pytest tests/fuzz
"""
