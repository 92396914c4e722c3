"""Counters of the simulated city: events, errors by code, samples of durations, money."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from city.model.seeded_random import seeded_random

# Durations kept of each kind; beyond that each later one may replace a random earlier one.
SAMPLE_MAX = 4096


@dataclass(slots=True)
class DurationSample:
    """A bounded random sample of any number of durations. Units: milliseconds."""

    rng: Random
    seen: int = 0
    values: list[float] = field(default_factory=list)

    def add(self, value_ms: float) -> None:
        """Add one duration.

        Units: milliseconds. Source: reservoir sampling, Vitter 1985, algorithm R.
        """
        self.seen += 1
        if len(self.values) < SAMPLE_MAX:
            self.values.append(value_ms)
            return
        place = self.rng.randrange(self.seen)
        if place < SAMPLE_MAX:
            self.values[place] = value_ms

    def percentile(self, share: float) -> float | None:
        """The value that `share` of the durations do not exceed; None without durations.

        Units: milliseconds.
        """
        if not self.values:
            return None
        return sorted(self.values)[min(int(share * len(self.values)), len(self.values) - 1)]


@dataclass(slots=True)
class Counters:
    """Everything that the simulated people did and saw. Units: whole XAF."""

    counts: Counter[str] = field(default_factory=Counter)
    # Keys are `role.action:code`, for example `rider.accept_delivery:offer_taken`.
    errors: Counter[str] = field(default_factory=Counter)
    settled_xaf: int = 0
    samples: dict[str, DurationSample] = field(default_factory=dict)

    def count(self, name: str, times: int = 1) -> None:
        """Count an event."""
        self.counts[name] += times

    def count_error(self, role: str, action: str, code: str) -> None:
        """Count a refusal, a failure or a contradiction."""
        self.errors[f"{role}.{action}:{code}"] += 1

    def record_duration(self, name: str, milliseconds: float) -> None:
        """Add a duration to the sample of its kind. Units: milliseconds."""
        if name not in self.samples:
            self.samples[name] = DurationSample(seeded_random(name))
        self.samples[name].add(milliseconds)

    @property
    def errors_total(self) -> int:
        """Number of errors of all kinds."""
        return sum(self.errors.values())

    def durations(self) -> dict[str, dict[str, float | int | None]]:
        """Count, median and 99th percentile of each kind of duration. Units: milliseconds."""
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
