"""How a bench says what it found."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Figures:
    """Prints figures beside their targets, and ends the process with 1 when one was missed."""

    missed: list[str] = field(default_factory=list)

    def at_most(self, name: str, figure: float, target: float, unit: str) -> None:
        self._say(name, figure, f"at most {target:g}", unit, figure <= target)

    def at_least(self, name: str, figure: float, target: float, unit: str) -> None:
        self._say(name, figure, f"at least {target:g}", unit, figure >= target)

    def within(self, name: str, figure: float, low: float, high: float, unit: str) -> None:
        self._say(name, figure, f"{low:g} to {high:g}", unit, low <= figure <= high)

    def report(self, name: str, figure: float, unit: str) -> None:
        print(f"           {name}: {figure:.4g} {unit}")

    def _say(self, name: str, figure: float, target: str, unit: str, holds: bool) -> None:
        print(f"{'holds     ' if holds else 'MISSED    '} {name}: {figure:.4g} {unit} (target: {target})")
        if not holds:
            self.missed.append(name)

    def finish(self) -> None:
        sys.exit(1 if self.missed else 0)


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time of one call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return median(times)


def interleaved_ratio(a: Callable[[], object], b: Callable[[], object], rounds: int) -> float:
    """Median over rounds of time(a) / time(b), each timed once a round in alternating order."""
    ratios = []
    for i in range(rounds):
        first, second = (a, b) if i % 2 else (b, a)
        one, other = seconds(first, 1), seconds(second, 1)
        ratios.append(one / other if i % 2 else other / one)
    return median(ratios)
