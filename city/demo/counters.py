"""What the city counts: happenings, errors by code, durations, money; nothing goes unseen."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from city.model.seeded_random import seeded_random

# Durations kept of each kind; beyond it every later one replaces a random earlier one.
SAMPLE_MAX = 4096


@dataclass(slots=True)
class DurationSample:
    """A fair sample of any number of durations. Units: milliseconds."""

    rng: Random
    seen: int = 0
    values: list[float] = field(default_factory=list)

    def add(self, value_ms: float) -> None:
        """Take one duration in.

        Source: reservoir sampling, Vitter 1985, algorithm R.
        """
        self.seen += 1
        if len(self.values) < SAMPLE_MAX:
            self.values.append(value_ms)
            return
        place = self.rng.randrange(self.seen)
        if place < SAMPLE_MAX:
            self.values[place] = value_ms

    def percentile(self, share: float) -> float | None:
        """The value that `share` of the durations do not exceed."""
        if not self.values:
            return None
        return sorted(self.values)[min(int(share * len(self.values)), len(self.values) - 1)]


@dataclass(slots=True)
class Counters:
    """Everything that happened to the city's people, as they saw it. Units: whole XAF."""

    counts: Counter[str] = field(default_factory=Counter)
    # Keys read `who.what:code`, as in `rider.accept_delivery:offer_taken`.
    errors: Counter[str] = field(default_factory=Counter)
    settled_xaf: int = 0
    samples: dict[str, DurationSample] = field(default_factory=dict)

    def count(self, name: str, times: int = 1) -> None:
        """Something has happened."""
        self.counts[name] += times

    def count_error(self, role: str, action: str, code: str) -> None:
        """Something was refused, failed or looked wrong."""
        self.errors[f"{role}.{action}:{code}"] += 1

    def record_duration(self, name: str, milliseconds: float) -> None:
        """Something took so long."""
        if name not in self.samples:
            self.samples[name] = DurationSample(seeded_random(name))
        self.samples[name].add(milliseconds)

    @property
    def errors_total(self) -> int:
        """How many errors of all kinds."""
        return sum(self.errors.values())

    def durations(self) -> dict[str, dict[str, float | int | None]]:
        """How long things took. Units: milliseconds."""
        return {
            name: {
                "count": sample.seen,
                "p50": _rounded(sample.percentile(0.50)),
                "p99": _rounded(sample.percentile(0.99)),
            }
            for name, sample in sorted(self.samples.items())
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
