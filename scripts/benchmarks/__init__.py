"""The parts of ``scripts/bench``: the measures, the load, the contenders, and the table of results."""
