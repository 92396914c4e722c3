"""How long a rider still needs: by what was observed on these streets, or by a router's word.

Beside step 2 of a fix's way: tracking.guide → [here].
"""

from typing import Protocol

from dispatch import metrics
from dispatch.model import Position
from dispatch.tracking.route_leg import OUT_M, Leg
from dispatch.tracking.stores.geo_cells import cell_of
from matching.eta import travel_seconds
from matching.geo import distance_m
from matching.speeds import Speeds, hour_of

# A stretch whose speed is learned: long enough that a phone's jitter does not count as speed, and
# no longer than a pause in reception.
# Source: GOAL traces, jitter of 3 m over 10 s is 0.4 m/s of 7.
STRETCH_MS_MIN, STRETCH_MS_MAX = 10_000, 60_000
# An estimate is worked out this often, told when it has changed by so much, and at the latest
# after a while, for those who have just begun to watch.
LOOK_EVERY_MS = 5_000
CHANGE_S, CHANGE_SHARE = 10.0, 0.1
TELL_EVERY_MS = 15_000
# The speed of the streets around him is looked up this often: it changes as others drive there, and
# a cell is kilometres wide. Source: measured, half of what an estimate costs.
SPEED_EVERY_MS = 20_000
# A router is asked so often for one rider on one leg; between, its word is scaled by ours.
ROUTE_EVERY_MS = 30_000

_OURS, _ROUTERS = metrics.ETAS.labels("ours"), metrics.ETAS.labels("router")


class Router(Protocol):
    """Who knows the streets."""

    def ask(self, leg: Leg, start: tuple[float, float], vehicle: str | None, ours_s: float) -> None:
        """Find out soon how long a leg takes, and note it there as a share of ours; never waits."""
        ...


class Forecast:
    """Estimates for the riders of this node."""

    def __init__(self, speeds: Speeds, router: Router | None = None) -> None:
        self._speeds = speeds
        self._router = router

    def learn(self, leg: Leg, at: Position, vehicle: str | None, away_m: float) -> None:
        """Observe how fast a rider gets on, while he is on his way and not at his place."""
        anchor = leg.anchor
        if away_m <= OUT_M or anchor is None:
            leg.anchor = at
            return
        took_ms = at.ts - anchor.ts
        if took_ms < STRETCH_MS_MIN:
            return
        leg.anchor = at
        if took_ms <= STRETCH_MS_MAX:
            cell = cell_of(at.lat, at.lng)
            self._speeds.learn(
                (cell, hour_of(at.ts), vehicle), distance_m(anchor, at), took_ms / 1000
            )

    def seconds(self, leg: Leg, at: Position, vehicle: str | None, away_m: float) -> float:
        """How long he still needs. Units: metres as the crow flies in, seconds out."""
        if at.received_at >= leg.speed_due_ms:
            leg.speed_due_ms = at.received_at + SPEED_EVERY_MS
            cell = cell_of(at.lat, at.lng)
            leg.speed_mps = self._speeds.speed_mps((cell, hour_of(at.ts), vehicle))
        return travel_seconds(away_m, leg.speed_mps) * leg.ratio

    def news(self, leg: Leg, at: Position, vehicle: str | None, away_m: float) -> float | None:
        """The same where it is to be told; None where what was told still holds."""
        now_ms = at.received_at
        leg.eta_due_ms = now_ms + LOOK_EVERY_MS
        eta_s = self.seconds(leg, at, vehicle, away_m)
        if self._router is not None and now_ms >= leg.route_due_ms:
            leg.route_due_ms = now_ms + ROUTE_EVERY_MS
            self._router.ask(leg, (at.lat, at.lng), vehicle, eta_s / leg.ratio)
        if leg.eta_told is not None:
            told_s, told_ms = leg.eta_told
            left_s = max(0.0, told_s - (now_ms - told_ms) / 1000)
            has_changed = abs(eta_s - left_s) >= max(CHANGE_S, CHANGE_SHARE * left_s)
            if not has_changed and now_ms - told_ms < TELL_EVERY_MS:
                return None
        leg.eta_told = (eta_s, now_ms)
        (_OURS if leg.ratio == 1.0 else _ROUTERS).inc()
        return eta_s
