"""Numbers by measure and contender, the bars that they must reach, and the table that shows them. Pure functions."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from statistics import median

OURS = "tmppool"
PEERS = ("direct", "nginx", "chp", "aiohttp", "httptools", "h11")
MISSED = "MISSED"
_MIN_WIDTH = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """A required result. ``limit`` is in the measure's unit, or with ``of`` a multiple of that contender's number."""

    limit: float
    of: str | None = None
    at_least: bool = True

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.limit:g} x {self.of}" if self.of else f"{sign} {self.limit:g}"

    def holds(self, row: "Row") -> bool | None:
        """Return True if the row reaches the bar; None if its number or the peer's is missing."""
        value = row.against(self.of) if self.of else row.value(OURS)
        if value is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(slots=True)
class Row:
    """One number of a measure. ``samples`` has all rounds by contender; the median is shown, or with ``worst`` the max.

    ``missing`` says why a contender has no number. ``wanted`` is a count that must be reached exactly. ``may_be_zero``:
    zero is a good result, and noise may make it negative.
    """

    measure: str
    unit: str
    bar: Bar | None = None
    worst: bool = False
    wanted: float | None = None
    may_be_zero: bool = False
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
        """Return the formatted number, or the reason why there is none."""
        value = self.value(who)
        return self.missing.get(who, "") if value is None else number(value)

    def against(self, who: str) -> float | None:
        """Return the median of the rounds' ratios of ours to another's; a slowdown of a whole round cancels out."""
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
        """The ratio to the bar's peer, else to the first measured peer; empty for a ``worst`` row."""
        if self.worst:
            return ""
        for peer in [self.bar.of] if self.bar and self.bar.of else ["nginx", "direct", "chp", "aiohttp"]:
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


def render(rows: Sequence[Row], *, with_bars: bool = True) -> str:
    """Return the rows as an aligned Markdown table, with a column for each contender that occurs in them."""
    peers = [peer for peer in PEERS if any(peer in row.samples or peer in row.missing for row in rows)]
    with_ratios = any(row.ratio for row in rows)
    lines = [["measure", OURS, *peers, *(["ratio"] if with_ratios else []), *(["bar", ""] if with_bars else [])]]
    for row in rows:
        bar = [str(row.bar) if row.bar else "", row.verdict] if with_bars else []
        ratio = [row.ratio] if with_ratios else []
        lines.append([f"{row.measure} [{row.unit}]", *(row.shown(who) for who in (OURS, *peers)), *ratio, *bar])
    widths = [max(_MIN_WIDTH, *(len(line[column]) for line in lines)) for column in range(len(lines[0]))]
    numbers = range(1, len(peers) + 2)
    rule = "|".join(["", *("-" * (width + 1) + (":" if n in numbers else "-") for n, width in enumerate(widths)), ""])
    shown = [_line(line, widths, numbers) for line in lines]
    return "\n".join([shown[0], rule, *shown[1:]])


def _line(cells: Sequence[str], widths: Sequence[int], numbers: Container[int]) -> str:
    pairs = enumerate(zip(cells, widths, strict=True))
    padded = [cell.rjust(width) if n in numbers else cell.ljust(width) for n, (cell, width) in pairs]
    return f"| {' | '.join(padded)} |"


def number(value: float) -> str:
    """Format a number with about three significant digits."""
    for limit, digits in ((100, 0), (10, 1), (0, 2)):
        if abs(value) >= limit:
            return f"{value:,.{digits}f}"
    return str(value)
