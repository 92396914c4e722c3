"""What follows from where a rider is: how often he shall report, whether he has arrived, when.

Beside step 2 of a fix's way: tracking.lane → [here] → the rider's app, orders.flow, the watchers.
"""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

from dispatch.model import Position
from dispatch.tracking.eta import Forecast
from dispatch.tracking.reporting_interval import IDLE, Cadence, busy_cadence
from dispatch.tracking.rider_state import Seat
from dispatch.tracking.route_leg import Leg
from dispatch.tracking.watchers import Watchers
from dispatch.wire.events import EtaUpdate, Stop
from dispatch.wire.frames import event_packet

# A rider who is farther away than this cannot arrive anywhere within the pause, however fast he
# reports: he is looked at this often.
FAR_M = 300.0
LOOK_EVERY_MS = 500


class Arrival(NamedTuple):
    """A rider was seen at a place of his order."""

    order_id: str
    rider_id: str
    at: Stop


class Guide:
    """Looks at each fix of a busy rider; plain functions that await nothing."""

    def __init__(self, watchers: Watchers, forecast: Forecast) -> None:
        self._watchers = watchers
        self._forecast = forecast
        self._advise: Callable[[str, bytes], None] = _nobody_hears
        self._arrived: Callable[[Arrival], None] = _nobody_notes

    def on_policy(self, callback: Callable[[str, bytes], None]) -> None:
        """Call back with (rider id, packet) when a rider's cadence changes."""
        self._advise = callback

    def on_arrival(self, callback: Callable[[Arrival], None]) -> None:
        """Call back when a rider was seen at a place of his order, once for each."""
        self._arrived = callback

    def greet(self, seat: Seat) -> None:
        """Tell an app that has just connected how often to report."""
        seat.cadence = None
        is_watched = any(map(self._watchers.watched, seat.orders))
        self._settle(seat, busy_cadence(inf, None, is_watched=is_watched) if seat.orders else IDLE)

    def rest(self, seat: Seat) -> None:
        """The rider carries nothing."""
        self._settle(seat, IDLE)

    def follow(self, seat: Seat, at: Position) -> None:
        """Look at a fix of a rider who carries something."""
        is_watched, nearest_m = seat.is_heard, inf
        for leg in seat.legs:
            away_m = leg.away_m(at)
            nearest_m = min(nearest_m, away_m)
            if self._watchers.watched(leg.order_id):
                is_watched = True
            if leg.arrives(away_m, at):
                self._arrived(Arrival(leg.order_id, seat.rider_id, leg.to))
            if not leg.is_there:
                self._foretell(seat, leg, away_m)
        seat.guide_due_ms = at.received_at + LOOK_EVERY_MS if nearest_m > FAR_M else 0
        cadence = busy_cadence(nearest_m, seat.cadence, is_watched=is_watched)
        if cadence is not seat.cadence:
            self._settle(seat, cadence)

    def _settle(self, seat: Seat, cadence: Cadence) -> None:
        seat.cadence = cadence
        self._advise(seat.rider_id, cadence.packet)

    def _foretell(self, seat: Seat, leg: Leg, away_m: float) -> None:
        """Tell the watchers when the rider will be there, where that is news."""
        position = seat.position
        assert position is not None, "a fix has just come"
        vehicle = seat.about.vehicle
        self._forecast.learn(leg, position, vehicle, away_m)
        is_here = self._watchers.watched(leg.order_id)
        if position.received_at < leg.eta_due_ms or not (is_here or seat.is_heard):
            return
        eta_s = self._forecast.news(leg, position, vehicle, away_m)
        if eta_s is None:
            return
        update = EtaUpdate(order_id=leg.order_id, eta_seconds=round(eta_s), to=leg.to)
        packet = event_packet("/user", update)
        if is_here:
            self._watchers.tell(leg.order_id, packet)
        if seat.is_heard:
            seat.notes.append((leg.order_id, packet))


def _nobody_hears(_rider_id: str, _packet: bytes) -> None:
    """Before the riders' audience is wired nobody can be told."""


def _nobody_notes(_arrival: Arrival) -> None:
    """Before the steps of orders are wired nobody notes arrivals."""
