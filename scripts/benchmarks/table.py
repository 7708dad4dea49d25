"""Numbers by measure and contender, what is asked of them, and the one table at the end. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

OURS = "tmppool"
PEERS = ("direct", "nginx", "chp")
_HEADS = ("measure", OURS, "direct", "nginx", "chp", "ratio", "bar", "")
MISSED = "MISSED"
_MIN_WIDTH = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """``limit`` is a number in the measure's own unit, or with ``of`` a multiple of that contender's number."""

    limit: float
    of: str | None = None
    at_least: bool = True

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.limit:g} x {self.of}" if self.of else f"{sign} {self.limit:g}"

    def holds(self, row: "Row") -> bool | None:
        """Whether the row reaches it; None when the number or the peer's is missing."""
        value = row.against(self.of) if self.of else row.value(OURS)
        if value is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(slots=True)
class Row:
    """One measure. ``samples`` holds every round by contender; what is shown is their median, or the ``worst``."""

    measure: str
    unit: str
    bar: Bar | None = None
    worst: bool = False
    samples: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, who: str, value: float) -> None:
        self.samples.setdefault(who, []).append(value)

    def value(self, who: str) -> float | None:
        found = self.samples.get(who)
        if not found:
            return None
        return max(found) if self.worst else median(found)

    def shown(self, who: str) -> str:
        """Return the number for people, or why there is none."""
        value = self.value(who)
        return self.missing.get(who, "") if value is None else number(value)

    def against(self, who: str) -> float | None:
        """Return the median of the rounds' ratios of ours to another's: what slows a whole round cancels out."""
        pairs = zip(self.samples.get(OURS, ()), self.samples.get(who, ()), strict=False)
        ratios = [ours / other for ours, other in pairs if other]
        return median(ratios) if ratios else None

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        return {True: "pass", False: MISSED, None: "not judged"}[self.bar.holds(self)]

    @property
    def ratio(self) -> str:
        """Ours to the peer of the bar, else to the first peer that was measured; none for what should be nothing."""
        if self.worst:
            return ""
        for peer in [self.bar.of] if self.bar and self.bar.of else ["nginx", "direct", "chp"]:
            ratio = self.against(peer)
            if ratio is not None:
                return f"{ratio:.2f} x {peer}"
        return ""

    def as_json(self) -> dict[str, object]:
        return {
            "measure": self.measure,
            "unit": self.unit,
            "worst" if self.worst else "median": {who: self.value(who) for who in self.samples},
            "rounds": self.samples,
            "missing": self.missing,
            "ratio": self.ratio,
            "bar": str(self.bar) if self.bar else None,
            "verdict": self.verdict,
        }


def render(rows: Iterable[Row]) -> str:
    """Return all rows as one aligned Markdown table."""
    lines = [list(_HEADS)]
    for row in rows:
        cells = [row.shown(who) for who in (OURS, *PEERS)]
        bar = str(row.bar) if row.bar else ""
        lines.append([f"{row.measure} [{row.unit}]", *cells, row.ratio, bar, row.verdict])
    widths = [max(_MIN_WIDTH, *(len(line[column]) for line in lines)) for column in range(len(_HEADS))]
    shown = [_line(line, widths) for line in lines]
    rule = "|".join(["", *("-" * (width + 1) + (":" if 0 < n < 5 else "-") for n, width in enumerate(widths)), ""])
    return "\n".join([shown[0], rule, *shown[1:]])


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [
        cell.rjust(w) if 0 < n < 5 else cell.ljust(w) for n, (cell, w) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def number(value: float) -> str:
    """Return three digits that mean something."""
    for limit, digits in ((100, 0), (10, 1), (0, 2)):
        if abs(value) >= limit:
            return f"{value:,.{digits}f}"
    return str(value)
