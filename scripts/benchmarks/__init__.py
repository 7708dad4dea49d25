"""What ``scripts/bench`` is made of: what it starts, what it loads them with, what it measures, what it prints."""
