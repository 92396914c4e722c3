"""How fast riders get on, by place and hour: learned as they drive, bounded, forgetting slowly."""

from collections.abc import Iterable, Mapping

from matching.eta import VEHICLE_DEFAULT, vehicle_mps

# Place, hour of the day (UTC), vehicle.
Key = tuple[str, int, str | None]
# Metres driven and the seconds they took.
Pace = tuple[float, float]

# Under this name stands the whole city, for places that are little known.
CITY = "city"
# What is known before weighs as much as this much driving.
# Source: bench/eta.py, 2026-11-21, 377 drives of GOAL: mean errors of 79.5, 80.8 and 82.4 s for
# 300, 600 and 1,200 s where all drives teach one place, 81.4, 88.4 and 97.6 s where they are spread
# over 25 places and 24 hours. 150 s gains another 5 % there, and lets one red light speak louder.
PRIOR_S = 300.0
# Beyond so much driving the old makes room for the new: four hours of one hour's traffic.
MEMORY_S = 4 * 3600.0
# Places times hours times vehicles of one city; above it new places are as fast as the city.
# Source: 36 km2 a cell, 25 cells a city, 24 hours, 4 vehicles: 2,400.
PACES_MAX = 20_000
# Slower than a walk is a queue at a gate; faster is no stretch of a city.
SPEED_MIN_MPS, SPEED_MAX_MPS = 0.5, 25.0

_HOUR_MS, _HOURS = 3_600_000, 24


def hour_of(ts_ms: int) -> int:
    """The hour of the day. Units: Unix milliseconds in, 0 to 23 UTC out."""
    return ts_ms // _HOUR_MS % _HOURS


class Speeds:
    """What one node knows: what all nodes have learned, and what it has learned since."""

    def __init__(self, prior_s: float = PRIOR_S) -> None:
        self._prior_s = prior_s
        self._known: dict[Key, Pace] = {}
        self._news: dict[Key, Pace] = {}

    def learn(self, key: Key, metres: float, seconds: float) -> None:
        """A rider has driven so far in so long, stops of the traffic included."""
        assert seconds > 0, "a stretch takes time"
        place, hour, vehicle = key
        vehicle = vehicle or VEHICLE_DEFAULT
        for each in ((place, hour, vehicle), (CITY, hour, vehicle)):
            if each in self._news or len(self._news) < PACES_MAX:
                before_m, before_s = self._news.get(each, (0.0, 0.0))
                self._news[each] = faded(before_m + metres, before_s + seconds)

    def speed_mps(self, key: Key) -> float:
        """How fast one gets on there, then; the city's speed where the place is little known."""
        place, hour, vehicle = key
        vehicle = vehicle or VEHICLE_DEFAULT
        speed = vehicle_mps(vehicle)
        for each in ((CITY, hour, vehicle), (place, hour, vehicle)):
            metres, seconds = self._pace(each)
            speed = (metres + speed * self._prior_s) / (seconds + self._prior_s)
        return min(max(speed, SPEED_MIN_MPS), SPEED_MAX_MPS)

    def _pace(self, key: Key) -> Pace:
        known_m, known_s = self._known.get(key, (0.0, 0.0))
        news_m, news_s = self._news.get(key, (0.0, 0.0))
        return known_m + news_m, known_s + news_s

    def take_news(self) -> dict[Key, Pace]:
        """What was learned here since the last call, to be shared."""
        news, self._news = self._news, {}
        return news

    def put_back(self, news: Mapping[Key, Pace]) -> None:
        """What could not be shared is learned here still."""
        for key, (metres, seconds) in news.items():
            before_m, before_s = self._news.get(key, (0.0, 0.0))
            self._news[key] = faded(before_m + metres, before_s + seconds)

    def know(self, paces: Iterable[tuple[Key, Pace]]) -> None:
        """What all nodes have learned together takes the place of what was known."""
        for key, pace in paces:
            if key in self._known or len(self._known) < PACES_MAX:
                self._known[key] = pace


def faded(metres: float, seconds: float) -> Pace:
    """A pace within the memory: what is older weighs less."""
    share = min(1.0, MEMORY_S / seconds) if seconds > 0 else 1.0
    return metres * share, seconds * share
