"""What a benchmark is made of: settings in, tasks that measure, rows out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

HEADER = "| point | row | against | measured | target | met |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Settings:
    """What the command line decides."""

    repeats: int
    quick: bool
    mnist: Path


@dataclass(frozen=True)
class Row:
    """One line of the table. ``measured=None`` says that the peer or the data is absent."""

    point: int
    name: str
    against: str
    measured: float | None
    target: float
    unit: str = ""
    at_least: bool = True

    def markdown(self):
        """Return the row as a line of a Markdown table."""
        if self.measured is None:
            measured, met = "absent", ""
        else:
            measured = f"{self.measured:.4g}{self.unit}"
            beyond = self.measured - self.target if self.at_least else self.target - self.measured
            met = "yes" if beyond >= 0 else "no"
        bound = "at least" if self.at_least else "at most"
        target = f"{bound} {self.target:g}{self.unit}"
        return f"| {self.point} | {self.name} | {self.against} | {measured} | {target} | {met} |"


@dataclass(frozen=True)
class Task:
    """A measurement that ends in one or more rows; nothing runs before ``run`` is called."""

    point: int
    name: str
    run: Callable[[Settings], Iterable[Row]]
