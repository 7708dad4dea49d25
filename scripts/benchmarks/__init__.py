"""Modules of ``scripts/bench``: the measures, the load generators, the contenders, and the table of results."""
