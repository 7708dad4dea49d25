"""A visitor's requests to the notebook, and its answers back. Both are hostile."""
