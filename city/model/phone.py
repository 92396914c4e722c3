"""Phones of the simulated riders: most report what they measure, some do not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from city.model.behaviour import Behaviour
from city.model.gps import STANDING_SPEED

Kind = Literal["plain", "coarse", "clock", "repeats"]
Fix = Mapping[str, float | int]

# What phones report indoors. Source: reports of app builders; iOS uses 65 m for positions by Wi-Fi.
COARSE_M = 65.0
# How far, and how often, a clock is set. Source: guesses.
CLOCK_JUMPS_MS = (-3_600_000, 3_600_000, -365 * 24 * 3_600_000, 0)
CLOCK_JUMP_CHANCE = 0.05


@dataclass(slots=True)
class Phone:
    """What one phone makes of the fixes of its receiver."""

    rng: Random
    kind: Kind
    _offset_ms: int = 0
    _last: Fix = field(default_factory=dict)

    def report(self, fix: Fix) -> Fix:
        """The fix as the phone sends it."""
        if self.kind == "coarse":
            return {**fix, "accuracy": COARSE_M}
        if self.kind == "clock":
            if self.rng.random() < CLOCK_JUMP_CHANCE:
                self._offset_ms = self.rng.choice(CLOCK_JUMPS_MS)
            return {**fix, "ts": int(fix["ts"]) + self._offset_ms}
        if self.kind == "repeats" and self._last and fix["speed"] < STANDING_SPEED:
            return self._last
        self._last = {**fix, "speed": 0.0} if fix["speed"] < STANDING_SPEED else fix
        return fix


def random_phone(rng: Random, behaviour: Behaviour) -> Phone:
    """A phone of a random rider."""
    drawn = rng.random()
    if drawn < behaviour.coarse_share:
        return Phone(rng, "coarse")
    if drawn < behaviour.coarse_share + behaviour.clock_share:
        return Phone(rng, "clock")
    if drawn < behaviour.coarse_share + behaviour.clock_share + behaviour.repeats_share:
        return Phone(rng, "repeats")
    return Phone(rng, "plain")
