"""Simulated GPS receiver: uneven intervals, gaps, drifting positions.

All figures marked `GOAL` were measured on 2026-11-21 on the 57,960 fixes of 805 traces of delivery
agents (github.com/amazon-science/goal-gps-ordered-activity-labels, CC BY 4.0, Amazon).
"""

import math
from dataclasses import dataclass, field
from random import Random

from city.model.motion import TruePosition
from city.model.streets import to_degrees

# Source: GOAL, the median interval; everything below scales with the interval that is asked for.
NOMINAL_S = 5.0
# Source: GOAL, intervals between 4.5 and 5.5 s (85 %): mean absolute deviation 17 ms.
JITTER_S = 0.017


@dataclass(frozen=True, slots=True)
class GapDistribution:
    """How often an interval between fixes is long, and how long. Units: shares from 0 to 1."""

    after_regular: float
    after_gap: float
    # Of the long intervals: beyond 14 s; one fix missed (10.0 s); the others uniform, 5.5 to 9.9 s.
    beyond_14_s: float
    one_missed: float


# Source: GOAL, intervals of 5.5 s and more, 21 % of all on foot and 6.8 % of all driving.
GAPS_STANDING = GapDistribution(0.148, 0.441, 0.084, 0.198)
GAPS_MOVING = GapDistribution(0.047, 0.351, 0.111, 0.380)
# Source: GOAL, beyond 14 s the excess is log-normal (ln: mean 2.1, sd 1.6).
LONG_FROM_S = 13.9
LONG_LN_MEAN, LONG_LN_SD = 2.1, 1.6
# GOAL's longest is 658 s; a demo of some minutes stops at two.
LONG_MAX_S = 120.0
# Source: GOAL, standing windows of a minute: semivariogram 1.2 m at 5 s, 2.5 m at 20 s, 3.8 m at
# 60 s (some of it steps), and 1.26 m of second differences across straight roads.
DRIFT_SD_M = 3.0
DRIFT_TIME_S = 40.0
WHITE_SD_M = 0.55
# Source: GOAL, 39 % of the steps of a standing agent repeat the position exactly.
FROZEN_SHARE = 0.39
STANDING_SPEED = 0.5
# Source: Android's Location.getAccuracy, a radius that holds 68 % of the errors; of a round normal
# error that is 1.515 times its sd on one axis.
ACCURACY_PER_SD = 1.515
ACCURACY_LN_SD = 0.35
SPEED_SD = 0.3
HEADING_SD_DEGREES = 4.0


@dataclass(slots=True)
class GpsReceiver:
    """One phone's GPS receiver: when it reports next, and which position; reads no clock."""

    rng: Random
    seq: int = 0
    drift: tuple[float, float] = (0.0, 0.0)
    sd_m: float = field(init=False)
    _in_gap: bool = field(default=False, init=False)
    _last_ms: int = field(default=0, init=False)
    _last: tuple[float, float] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.sd_m = DRIFT_SD_M * math.exp(self.rng.gauss(0, ACCURACY_LN_SD))
        self.drift = (self.rng.gauss(0, self.sd_m), self.rng.gauss(0, self.sd_m))

    def next_interval_s(self, nominal_s: float, *, is_moving: bool) -> float:
        """Time until the next fix. Units: seconds of the wall clock."""
        gaps = GAPS_MOVING if is_moving else GAPS_STANDING
        chance = gaps.after_gap if self._in_gap else gaps.after_regular
        self._in_gap = self.rng.random() < chance
        interval = self._gap_s(gaps) if self._in_gap else self._regular_s()
        return interval * nominal_s / NOMINAL_S

    def observe(self, true_position: TruePosition, now_ms: int) -> dict[str, float | int]:
        """The fix that the phone reports for a true position, as `location_update` has it.

        Units: Unix milliseconds in; degrees, metres, metres per second out.
        """
        self._advance_drift(max(now_ms - self._last_ms, 0) / 1000)
        self._last_ms = now_ms
        self.seq += 1
        is_standing = true_position.speed_mps < STANDING_SPEED
        if not (is_standing and self._last and self.rng.random() < FROZEN_SHARE):
            self._last = to_degrees(
                (
                    true_position.point[0] + self.drift[0] + self.rng.gauss(0, WHITE_SD_M),
                    true_position.point[1] + self.drift[1] + self.rng.gauss(0, WHITE_SD_M),
                )
            )
        fix: dict[str, float | int] = {
            "lat": round(self._last[0], 6),
            "lng": round(self._last[1], 6),
            "accuracy": round(self._accuracy(), 1),
            "speed": round(max(0.0, self.rng.gauss(true_position.speed_mps, SPEED_SD)), 2),
            "ts": now_ms,
            "seq": self.seq,
        }
        if not is_standing:
            # A standing phone has no heading.
            fix["heading"] = (
                round(self.rng.gauss(true_position.heading_deg, HEADING_SD_DEGREES) % 360, 1) % 360
            )
        return fix

    def _advance_drift(self, elapsed_s: float) -> None:
        # An Ornstein-Uhlenbeck step, exact for an interval of any length.
        keep = math.exp(-elapsed_s / DRIFT_TIME_S)
        fresh = self.sd_m * math.sqrt(1 - keep * keep)
        self.drift = (
            self.drift[0] * keep + self.rng.gauss(0, fresh),
            self.drift[1] * keep + self.rng.gauss(0, fresh),
        )

    def _accuracy(self) -> float:
        return ACCURACY_PER_SD * self.sd_m * math.exp(self.rng.gauss(0, ACCURACY_LN_SD / 2))

    def _regular_s(self) -> float:
        late = self.rng.expovariate(1 / JITTER_S)
        return NOMINAL_S + (late if self.rng.random() < 0.5 else -min(late, 0.5))

    def _gap_s(self, gaps: GapDistribution) -> float:
        draw = self.rng.random()
        if draw < gaps.beyond_14_s:
            excess = math.exp(self.rng.gauss(LONG_LN_MEAN, LONG_LN_SD))
            return min(LONG_FROM_S + excess, LONG_MAX_S)
        if draw < gaps.beyond_14_s + gaps.one_missed:
            return 2 * NOMINAL_S + self.rng.gauss(0, JITTER_S)
        return self.rng.uniform(5.5, 9.9)
