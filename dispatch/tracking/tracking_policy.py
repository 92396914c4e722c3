"""Tracking rules: reporting interval, arrival detection and ETA after each fix of a busy rider."""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

from dispatch.model import Position
from dispatch.tracking.eta import EtaEstimator
from dispatch.tracking.reporting_interval import IDLE, ReportingInterval, busy_interval
from dispatch.tracking.rider_state import RiderState
from dispatch.tracking.route_leg import RouteLeg
from dispatch.tracking.watchers import Watchers
from dispatch.wire.events import EtaUpdate, Stop
from dispatch.wire.frames import encode_event

# Farther than this from all its stops a rider cannot arrive before the next evaluation, so that its
# fixes are evaluated this often at most.
FAR_M = 300.0
EVALUATE_EVERY_MS = 500
# A coarser position shows neither an arrival nor a speed.
# Source: tracking.route_leg, a rider has arrived within 40 to 60 m of a stop.
EXACT_M = 60.0


class Arrival(NamedTuple):
    """A rider's positions have shown it at a stop of its order."""

    order_id: str
    rider_id: str
    stop: Stop


class TrackingRules:
    """Evaluates each fix of a rider that carries an order; plain functions that await nothing."""

    def __init__(self, watchers: Watchers, eta_estimator: EtaEstimator) -> None:
        self._watchers = watchers
        self._eta_estimator = eta_estimator
        self._policy_callback: Callable[[str, bytes], None] = _ignore_policy
        self._arrival_callback: Callable[[Arrival], None] = _ignore_arrival

    def on_policy(self, callback: Callable[[str, bytes], None]) -> None:
        """Call back with (rider id, packet) when a rider's reporting interval changes."""
        self._policy_callback = callback

    def on_arrival(self, callback: Callable[[Arrival], None]) -> None:
        """Call back when a rider has arrived at a stop, once for each stop."""
        self._arrival_callback = callback

    def send_tracking_policy(self, rider: RiderState) -> None:
        """Send the reporting interval to an app that has just connected."""
        rider.reporting_interval = None
        is_watched = any(map(self._watchers.is_watched, rider.orders))
        self._set_interval(
            rider, busy_interval(inf, None, is_watched=is_watched) if rider.orders else IDLE
        )

    def set_idle(self, rider: RiderState) -> None:
        """Set the interval of a rider without an order."""
        self._set_interval(rider, IDLE)

    def evaluate_fix(self, rider: RiderState, position: Position) -> None:
        """Evaluate a fix of a rider with an order: arrival, ETA, reporting interval."""
        is_watched, nearest_m = rider.is_watched_elsewhere, inf
        is_exact = position.accuracy is None or position.accuracy <= EXACT_M
        for leg in rider.legs:
            away_m = leg.distance_m(position)
            nearest_m = min(nearest_m, away_m)
            if self._watchers.is_watched(leg.order_id):
                is_watched = True
            if is_exact and leg.detect_arrival(away_m, position):
                self._arrival_callback(Arrival(leg.order_id, rider.rider_id, leg.to))
            if is_exact and not leg.has_arrived:
                self._update_eta(rider, leg, away_m)
        rider.rules_due_ms = position.received_at + EVALUATE_EVERY_MS if nearest_m > FAR_M else 0
        interval = busy_interval(nearest_m, rider.reporting_interval, is_watched=is_watched)
        if interval is not rider.reporting_interval:
            self._set_interval(rider, interval)

    def _set_interval(self, rider: RiderState, interval: ReportingInterval) -> None:
        rider.reporting_interval = interval
        self._policy_callback(rider.rider_id, interval.packet)

    def _update_eta(self, rider: RiderState, leg: RouteLeg, away_m: float) -> None:
        """Send the ETA of a leg to its watchers when it is due and has changed."""
        position = rider.position
        assert position is not None, "a fix was just accepted"
        vehicle = rider.attributes.vehicle
        self._eta_estimator.observe_speed(leg, position, vehicle, away_m)
        is_here = self._watchers.is_watched(leg.order_id)
        if position.received_at < leg.eta_due_ms or not (is_here or rider.is_watched_elsewhere):
            return
        eta_s = self._eta_estimator.estimate_if_changed(leg, position, vehicle, away_m)
        if eta_s is None:
            return
        update = EtaUpdate(order_id=leg.order_id, eta_seconds=round(eta_s), to=leg.to)
        packet = encode_event("/user", update)
        if is_here:
            self._watchers.send_update(leg.order_id, packet)
        if rider.is_watched_elsewhere:
            rider.extra_packets.append((leg.order_id, packet))


def _ignore_policy(_rider_id: str, _packet: bytes) -> None:
    """Default before `on_policy`."""


def _ignore_arrival(_arrival: Arrival) -> None:
    """Default before `on_arrival`."""
