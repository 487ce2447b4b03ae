"""The parts of a benchmark: settings, tasks that measure, and rows of the table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

HEADER = "| point | row | against | measured | target | met |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Settings:
    """The settings from the command line."""

    repeats: int
    quick: bool
    mnist: Path
    text: Path
    tables: Path


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ``measured=None`` means that the peer or the data is absent; ``target=None``, no target.
    """

    point: str
    name: str
    against: str
    measured: float | None
    target: float | None
    unit: str = ""
    at_least: bool = True

    def markdown(self):
        """Return the row as a line of a Markdown table."""
        measured, target, met = "absent", "", ""
        if self.measured is not None:
            measured = f"{self.measured:.4g}{self.unit}"
        if self.target is not None:
            bound = "at least" if self.at_least else "at most"
            target = f"{bound} {self.target:.4g}{self.unit}"
        if self.measured is not None and self.target is not None:
            beyond = self.measured - self.target if self.at_least else self.target - self.measured
            met = "yes" if beyond >= 0 else "no"
        return f"| {self.point} | {self.name} | {self.against} | {measured} | {target} | {met} |"


@dataclass(frozen=True)
class Task:
    """A measurement that yields one or more rows; nothing runs before ``run`` is called."""

    point: str
    name: str
    run: Callable[[Settings], Iterable[Row]]
