"""ETA: estimates how long a rider needs to its next stop, from learned speeds or a router."""

from typing import Protocol

from dispatch import metrics
from dispatch.model import Position
from dispatch.tracking.route_leg import DEPARTURE_RADIUS_M, RouteLeg
from dispatch.tracking.stores.geo_cells import cell_of
from matching.eta import travel_seconds
from matching.geo import distance_m
from matching.speeds import LearnedSpeeds, hour_of

# Duration of a stretch whose speed is learned: long enough that GPS jitter does not count as speed,
# and too short to hide a pause in reception.
# Source: GOAL traces (CC BY 4.0), jitter of 3 m over 10 s is 0.4 m/s of 7.
STRETCH_MS_MIN, STRETCH_MS_MAX = 10_000, 60_000
# An ETA is estimated this often, sent when it has changed by this much, and at the latest after
# ETA_SEND_EVERY_MS, for watchers who have just joined. Source: chosen.
ESTIMATE_EVERY_MS = 5_000
ETA_CHANGE_MIN_S, ETA_CHANGE_MIN_SHARE = 10.0, 0.1
ETA_SEND_EVERY_MS = 15_000
# The learned speed around the rider is looked up this often: it changes as others drive there, and
# a cell is kilometres wide. Source: measured 2026-11-21, a look-up is half the cost of an estimate.
SPEED_LOOKUP_EVERY_MS = 20_000
# A router is asked this often for one leg; in between its last answer scales our estimates.
ROUTE_REQUEST_EVERY_MS = 30_000

_OWN_ETAS, _ROUTER_ETAS = metrics.ETAS.labels("own"), metrics.ETAS.labels("router")


class RouteRequester(Protocol):
    """A routing engine, asked in the background."""

    def request_route(
        self, leg: RouteLeg, start: tuple[float, float], vehicle: str | None, estimate_s: float
    ) -> None:
        """Ask how long a leg takes, and set `leg.router_ratio` to its share of `estimate_s` later.

        Never blocks. Shapes: `start` is (lat, lng). Units: degrees, seconds.
        """
        ...


class EtaEstimator:
    """ETAs for the riders of this node; learns speeds from their fixes."""

    def __init__(self, speeds: LearnedSpeeds, router: RouteRequester | None = None) -> None:
        self._speeds = speeds
        self._router = router

    def observe_speed(
        self, leg: RouteLeg, position: Position, vehicle: str | None, away_m: float
    ) -> None:
        """Learn the speed of the last stretch, while the rider is not near the stop.

        Units: `away_m` metres to the stop.
        """
        start = leg.stretch_start
        if away_m <= DEPARTURE_RADIUS_M or start is None:
            leg.stretch_start = position
            return
        took_ms = position.ts - start.ts
        if took_ms < STRETCH_MS_MIN:
            return
        leg.stretch_start = position
        if took_ms <= STRETCH_MS_MAX:
            cell = cell_of(position.lat, position.lng)
            self._speeds.learn(
                (cell, hour_of(position.ts), vehicle), distance_m(start, position), took_ms / 1000
            )

    def estimate_s(
        self, leg: RouteLeg, position: Position, vehicle: str | None, away_m: float
    ) -> float:
        """The ETA of a leg. Units: metres as the crow flies in, seconds out."""
        if position.received_at >= leg.speed_due_ms:
            leg.speed_due_ms = position.received_at + SPEED_LOOKUP_EVERY_MS
            cell = cell_of(position.lat, position.lng)
            leg.speed_mps = self._speeds.speed_mps((cell, hour_of(position.ts), vehicle))
        return travel_seconds(away_m, leg.speed_mps) * leg.router_ratio

    def estimate_if_changed(
        self, leg: RouteLeg, position: Position, vehicle: str | None, away_m: float
    ) -> float | None:
        """The ETA if it should be sent now, None while the last one sent is close enough.

        Asks the router when it is due. Units: metres in, seconds out.
        """
        now_ms = position.received_at
        leg.eta_due_ms = now_ms + ESTIMATE_EVERY_MS
        eta_s = self.estimate_s(leg, position, vehicle, away_m)
        if self._router is not None and now_ms >= leg.route_due_ms:
            leg.route_due_ms = now_ms + ROUTE_REQUEST_EVERY_MS
            self._router.request_route(
                leg, (position.lat, position.lng), vehicle, eta_s / leg.router_ratio
            )
        if leg.last_sent_eta is not None:
            sent_s, sent_at_ms = leg.last_sent_eta
            left_s = max(0.0, sent_s - (now_ms - sent_at_ms) / 1000)
            has_changed = abs(eta_s - left_s) >= max(
                ETA_CHANGE_MIN_S, ETA_CHANGE_MIN_SHARE * left_s
            )
            if not has_changed and now_ms - sent_at_ms < ETA_SEND_EVERY_MS:
                return None
        leg.last_sent_eta = (eta_s, now_ms)
        (_OWN_ETAS if leg.router_ratio == 1.0 else _ROUTER_ETAS).inc()
        return eta_s
