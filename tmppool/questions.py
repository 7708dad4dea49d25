"""Counts questions of one kind, of which several may be pending, so that a lost one does not count as a failure."""


class Questions:
    """The questions asked so far, numbered from 1."""

    def __init__(self) -> None:
        self._asked = 0
        self._answered = 0

    def ask(self) -> int:
        """Return the number of a new question."""
        self._asked += 1
        return self._asked

    def note_answer(self, number: int) -> None:
        """Note that this question has been answered."""
        self._answered = max(self._answered, number)

    def is_overtaken(self, number: int) -> bool:
        """Return True if a later question has been answered: then the failure of this one says nothing about now."""
        return number < self._answered
