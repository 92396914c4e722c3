"""How fast riders get on, by place and hour: learned as they drive, bounded, forgetting slowly."""

from collections.abc import Iterable, Mapping

from matching.eta import VEHICLE_DEFAULT, vehicle_mps

# Place, hour of the day (UTC), vehicle.
SpeedKey = tuple[str, int, str | None]
# Metres driven and the seconds they took.
SpeedSample = tuple[float, float]

# Under this name stands the whole city, for places that are little known.
WHOLE_CITY = "city"
# What is known before weighs as much as this much driving.
# Source: bench/eta.py, 2026-11-21, 377 drives of GOAL: mean errors of 79.5, 80.8 and 82.4 s for
# 300, 600 and 1,200 s where all drives teach one place, 81.4, 88.4 and 97.6 s where they are spread
# over 25 places and 24 hours. 150 s gains another 5 % there, and lets one red light speak louder.
PRIOR_S = 300.0
# Beyond so much driving the old makes room for the new: four hours of one hour's traffic.
MEMORY_S = 4 * 3600.0
# Places times hours times vehicles of one city; above it new places are as fast as the city.
# Source: 36 km2 a cell, 25 cells a city, 24 hours, 4 vehicles: 2,400.
SPEED_KEYS_MAX = 20_000
# Slower than a walk is a queue at a gate; faster is no stretch of a city.
SPEED_MIN_MPS, SPEED_MAX_MPS = 0.5, 25.0

_HOUR_MS, _HOURS = 3_600_000, 24


def hour_of(ts_ms: int) -> int:
    """The hour of the day. Units: Unix milliseconds in, 0 to 23 UTC out."""
    return ts_ms // _HOUR_MS % _HOURS


class LearnedSpeeds:
    """What one node knows: what all nodes have learned, and what it has learned since."""

    def __init__(self, prior_s: float = PRIOR_S) -> None:
        self._prior_s = prior_s
        self._shared: dict[SpeedKey, SpeedSample] = {}
        self._unshared: dict[SpeedKey, SpeedSample] = {}

    def learn(self, key: SpeedKey, metres: float, seconds: float) -> None:
        """A rider has driven so far in so long, stops of the traffic included."""
        assert seconds > 0, "a stretch takes time"
        place, hour, vehicle = key
        vehicle = vehicle or VEHICLE_DEFAULT
        for each in ((place, hour, vehicle), (WHOLE_CITY, hour, vehicle)):
            if each in self._unshared or len(self._unshared) < SPEED_KEYS_MAX:
                before_m, before_s = self._unshared.get(each, (0.0, 0.0))
                self._unshared[each] = fade(before_m + metres, before_s + seconds)

    def speed_mps(self, key: SpeedKey) -> float:
        """How fast one gets on there, then; the city's speed where the place is little known."""
        place, hour, vehicle = key
        vehicle = vehicle or VEHICLE_DEFAULT
        speed = vehicle_mps(vehicle)
        for each in ((WHOLE_CITY, hour, vehicle), (place, hour, vehicle)):
            metres, seconds = self._sample(each)
            speed = (metres + speed * self._prior_s) / (seconds + self._prior_s)
        return min(max(speed, SPEED_MIN_MPS), SPEED_MAX_MPS)

    def _sample(self, key: SpeedKey) -> SpeedSample:
        known_m, known_s = self._shared.get(key, (0.0, 0.0))
        news_m, news_s = self._unshared.get(key, (0.0, 0.0))
        return known_m + news_m, known_s + news_s

    def take_unshared(self) -> dict[SpeedKey, SpeedSample]:
        """What was learned here since the last call, to be shared."""
        news, self._unshared = self._unshared, {}
        return news

    def restore_unshared(self, samples: Mapping[SpeedKey, SpeedSample]) -> None:
        """What could not be shared is learned here still."""
        for key, (metres, seconds) in samples.items():
            before_m, before_s = self._unshared.get(key, (0.0, 0.0))
            self._unshared[key] = fade(before_m + metres, before_s + seconds)

    def replace_shared(self, samples: Iterable[tuple[SpeedKey, SpeedSample]]) -> None:
        """What all nodes have learned together takes the place of what was known."""
        for key, pace in samples:
            if key in self._shared or len(self._shared) < SPEED_KEYS_MAX:
                self._shared[key] = pace


def fade(metres: float, seconds: float) -> SpeedSample:
    """A pace within the memory: what is older weighs less."""
    share = min(1.0, MEMORY_S / seconds) if seconds > 0 else 1.0
    return metres * share, seconds * share
