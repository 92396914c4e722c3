"""How long a rider still needs: by what was observed on these streets, or by a router's word.

Beside step 2 of a fix's way: tracking.guide → [here].
"""

from typing import Protocol

from dispatch import metrics
from dispatch.model import Position
from dispatch.tracking.route_leg import DEPARTURE_RADIUS_M, RouteLeg
from dispatch.tracking.stores.geo_cells import cell_of
from matching.eta import travel_seconds
from matching.geo import distance_m
from matching.speeds import LearnedSpeeds, hour_of

# A stretch whose speed is learned: long enough that a phone's jitter does not count as speed, and
# no longer than a pause in reception.
# Source: GOAL traces, jitter of 3 m over 10 s is 0.4 m/s of 7.
STRETCH_MS_MIN, STRETCH_MS_MAX = 10_000, 60_000
# An estimate is worked out this often, told when it has changed by so much, and at the latest
# after a while, for those who have just begun to watch.
ESTIMATE_EVERY_MS = 5_000
ETA_CHANGE_MIN_S, ETA_CHANGE_MIN_SHARE = 10.0, 0.1
ETA_SEND_EVERY_MS = 15_000
# The speed of the streets around him is looked up this often: it changes as others drive there, and
# a cell is kilometres wide. Source: measured, half of what an estimate costs.
SPEED_LOOKUP_EVERY_MS = 20_000
# A router is asked so often for one rider on one leg; between, its word is scaled by ours.
ROUTE_REQUEST_EVERY_MS = 30_000

_OWN_ETAS, _ROUTER_ETAS = metrics.ETAS.labels("ours"), metrics.ETAS.labels("router")


class RouteRequester(Protocol):
    """Who knows the streets."""

    def request_route(
        self, leg: RouteLeg, start: tuple[float, float], vehicle: str | None, estimate_s: float
    ) -> None:
        """Find out soon how long a leg takes, and note it there as a share of ours; never waits."""
        ...


class EtaEstimator:
    """Estimates for the riders of this node."""

    def __init__(self, speeds: LearnedSpeeds, router: RouteRequester | None = None) -> None:
        self._speeds = speeds
        self._router = router

    def observe_speed(
        self, leg: RouteLeg, position: Position, vehicle: str | None, away_m: float
    ) -> None:
        """Observe how fast a rider gets on, while he is on his way and not at his place."""
        anchor = leg.stretch_start
        if away_m <= DEPARTURE_RADIUS_M or anchor is None:
            leg.stretch_start = position
            return
        took_ms = position.ts - anchor.ts
        if took_ms < STRETCH_MS_MIN:
            return
        leg.stretch_start = position
        if took_ms <= STRETCH_MS_MAX:
            cell = cell_of(position.lat, position.lng)
            self._speeds.learn(
                (cell, hour_of(position.ts), vehicle), distance_m(anchor, position), took_ms / 1000
            )

    def estimate_s(
        self, leg: RouteLeg, position: Position, vehicle: str | None, away_m: float
    ) -> float:
        """How long he still needs. Units: metres as the crow flies in, seconds out."""
        if position.received_at >= leg.speed_due_ms:
            leg.speed_due_ms = position.received_at + SPEED_LOOKUP_EVERY_MS
            cell = cell_of(position.lat, position.lng)
            leg.speed_mps = self._speeds.speed_mps((cell, hour_of(position.ts), vehicle))
        return travel_seconds(away_m, leg.speed_mps) * leg.router_ratio

    def estimate_if_changed(
        self, leg: RouteLeg, position: Position, vehicle: str | None, away_m: float
    ) -> float | None:
        """The same where it is to be told; None where what was told still holds."""
        now_ms = position.received_at
        leg.eta_due_ms = now_ms + ESTIMATE_EVERY_MS
        eta_s = self.estimate_s(leg, position, vehicle, away_m)
        if self._router is not None and now_ms >= leg.route_due_ms:
            leg.route_due_ms = now_ms + ROUTE_REQUEST_EVERY_MS
            self._router.request_route(
                leg, (position.lat, position.lng), vehicle, eta_s / leg.router_ratio
            )
        if leg.last_sent_eta is not None:
            told_s, told_ms = leg.last_sent_eta
            left_s = max(0.0, told_s - (now_ms - told_ms) / 1000)
            has_changed = abs(eta_s - left_s) >= max(
                ETA_CHANGE_MIN_S, ETA_CHANGE_MIN_SHARE * left_s
            )
            if not has_changed and now_ms - told_ms < ETA_SEND_EVERY_MS:
                return None
        leg.last_sent_eta = (eta_s, now_ms)
        (_OWN_ETAS if leg.router_ratio == 1.0 else _ROUTER_ETAS).inc()
        return eta_s
