"""Rider observation: what an engine's check finds out about the rider of an order."""

from typing import NamedTuple

from dispatch.clock import Clock
from dispatch.model import OfferPolicy, Order, RiderPresence
from dispatch.orders.offers.approach import update_approach
from dispatch.orders.offers.approach_store import Approach
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.presence_alerts import presence_alert


class RiderObservation(NamedTuple):
    """The rider's approach to its next stop, and its presence, at one check. Units: Unix ms."""

    approach: Approach
    presence: RiderPresence
    now_ms: int


class RiderObserver:
    """Reads what is known of an order's rider, and alerts operators about its presence.

    Errors: every method raises StoreUnavailable.
    """

    def __init__(self, lookups: EngineLookups, clock: Clock) -> None:
        self._lookups = lookups
        self._clock = clock

    async def observe(self, order: Order, policy: OfferPolicy) -> RiderObservation:
        """The rider's approach, brought up to date, and its presence; nothing is stored."""
        assert order.rider_id is not None, "only an order with a rider is monitored"
        before = await self._lookups.approaches.get(order.order_id)
        presence = await self._lookups.positions.presence(order.rider_id)
        now_ms = self._clock.now_ms()
        after = update_approach(before, order, presence, now_ms, policy)
        return RiderObservation(after, presence, now_ms)

    async def alert(self, observed: RiderObservation, order: Order, policy: OfferPolicy) -> None:
        """Alert operators where the rider is silent at the pickup, or cannot be placed."""
        alert = presence_alert(observed.approach, order, observed.presence, policy)
        if alert is not None:
            await self._lookups.alerts.raise_alert(alert, policy.alert_every_ms)
