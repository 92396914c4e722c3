"""Learned travel speeds by place, hour and vehicle: bounded, and with a fading memory."""

from collections.abc import Iterable, Mapping

from matching.eta import VEHICLE_DEFAULT, vehicle_mps

# Place, hour of the day (UTC), vehicle.
SpeedKey = tuple[str, int, str | None]
# Metres driven and the seconds they took.
SpeedSample = tuple[float, float]

# Place name of the whole city, used for places with little data of their own.
WHOLE_CITY = "city"
# The prior (the city's speed, or the vehicle's) weighs as much as this much driving.
# Source: bench/eta.py, 2026-11-21, 377 drives of GOAL: mean errors of 79.5, 80.8 and 82.4 s for
# 300, 600 and 1,200 s where all drives teach one place, 81.4, 88.4 and 97.6 s where they are spread
# over 25 places and 24 hours. 150 s gains another 5 % there, but gives one red light more weight.
PRIOR_S = 300.0
# Older driving fades so that a key never weighs more than this: four hours of one hour's traffic.
MEMORY_S = 4 * 3600.0
# Places times hours times vehicles of one city; beyond it new places use the city's speed.
# Source: 36 km2 a cell, 25 cells a city, 24 hours, 4 vehicles: 2,400.
SPEED_KEYS_MAX = 20_000
# Slower than walking is a queue at a gate; faster is not a street of a city.
SPEED_MIN_MPS, SPEED_MAX_MPS = 0.5, 25.0

_HOUR_MS, _HOURS = 3_600_000, 24


def hour_of(ts_ms: int) -> int:
    """The hour of the day. Units: Unix milliseconds in, 0 to 23 UTC out."""
    return ts_ms // _HOUR_MS % _HOURS


class LearnedSpeeds:
    """Speeds known to one node: those shared by all nodes, and what it has not shared yet."""

    def __init__(self, prior_s: float = PRIOR_S) -> None:
        self._prior_s = prior_s
        self._shared: dict[SpeedKey, SpeedSample] = {}
        self._unshared: dict[SpeedKey, SpeedSample] = {}

    def learn(self, key: SpeedKey, metres: float, seconds: float) -> None:
        """Add one stretch of driving, stops in traffic included. Units: metres, seconds."""
        assert seconds > 0, "a stretch takes time"
        place, hour, vehicle = key
        vehicle = vehicle or VEHICLE_DEFAULT
        for each in ((place, hour, vehicle), (WHOLE_CITY, hour, vehicle)):
            if each in self._unshared or len(self._unshared) < SPEED_KEYS_MAX:
                before_m, before_s = self._unshared.get(each, (0.0, 0.0))
                self._unshared[each] = fade(before_m + metres, before_s + seconds)

    def speed_mps(self, key: SpeedKey) -> float:
        """Expected speed at a place and hour, drawn to the city's, drawn to the vehicle's.

        Units: metres per second, between SPEED_MIN_MPS and SPEED_MAX_MPS.
        """
        place, hour, vehicle = key
        vehicle = vehicle or VEHICLE_DEFAULT
        speed = vehicle_mps(vehicle)
        for each in ((WHOLE_CITY, hour, vehicle), (place, hour, vehicle)):
            metres, seconds = self._sample(each)
            speed = (metres + speed * self._prior_s) / (seconds + self._prior_s)
        return min(max(speed, SPEED_MIN_MPS), SPEED_MAX_MPS)

    def _sample(self, key: SpeedKey) -> SpeedSample:
        shared_m, shared_s = self._shared.get(key, (0.0, 0.0))
        unshared_m, unshared_s = self._unshared.get(key, (0.0, 0.0))
        return shared_m + unshared_m, shared_s + unshared_s

    def take_unshared(self) -> dict[SpeedKey, SpeedSample]:
        """Remove and return what was learned since the last call, to be shared."""
        samples, self._unshared = self._unshared, {}
        return samples

    def restore_unshared(self, samples: Mapping[SpeedKey, SpeedSample]) -> None:
        """Put back samples that could not be shared."""
        for key, (metres, seconds) in samples.items():
            before_m, before_s = self._unshared.get(key, (0.0, 0.0))
            self._unshared[key] = fade(before_m + metres, before_s + seconds)

    def replace_shared(self, samples: Iterable[tuple[SpeedKey, SpeedSample]]) -> None:
        """Replace the shared samples of these keys with what all nodes have learned together."""
        for key, sample in samples:
            if key in self._shared or len(self._shared) < SPEED_KEYS_MAX:
                self._shared[key] = sample


def fade(metres: float, seconds: float) -> SpeedSample:
    """Scale a sample down to MEMORY_S, keeping its speed. Units: metres, seconds."""
    share = min(1.0, MEMORY_S / seconds) if seconds > 0 else 1.0
    return metres * share, seconds * share
