"""Rider registry: the riders connected to this node; changes their workload and attributes."""

from collections.abc import Collection, Iterator
from typing import Protocol

from dispatch.model import RiderAssignment
from dispatch.tracking.fixes.rules import FixRules
from dispatch.tracking.fixes.vehicle_speeds import speed_max_mps
from dispatch.tracking.freshness import FreshnessLimits
from dispatch.tracking.rider_state import RiderAttributes, RiderState
from dispatch.tracking.route_leg import RouteLeg

# Offers older than this do not count as recent. Source: chosen, matching compares offers per hour.
OFFERS_WINDOW_MS = 3_600_000


class WriteQueue(Protocol):
    """Takes riders whose state must reach Redis soon."""

    def enqueue(self, rider: RiderState) -> None:
        """Queue a rider that has changed without a new fix."""
        ...


class LocalOrders(Protocol):
    """Takes notes of which orders' positions come from riders of this node."""

    def mark_local(self, order_id: str) -> None:
        """They come from a rider of this node."""
        ...

    def unmark_local(self, order_id: str) -> None:
        """They may come from another node."""
        ...


class RiderRegistry:
    """The riders of this node; changes of their workload reach the index with the next flush.

    A method that is given the id of a rider of another node changes nothing.
    """

    def __init__(
        self,
        write_queue: WriteQueue,
        local_orders: LocalOrders,
        limits: FreshnessLimits,
        fix_rules: FixRules | None = None,
    ) -> None:
        assert limits.fresh_ms < limits.lost_ms, "stale comes before lost"
        self._write_queue = write_queue
        self._local_orders = local_orders
        self.limits = limits
        self.fix_rules = fix_rules or FixRules(fresh_ms=limits.fresh_ms)
        self._riders: dict[str, RiderState] = {}

    def __len__(self) -> int:
        return len(self._riders)

    def __iter__(self) -> Iterator[RiderState]:
        return iter(tuple(self._riders.values()))

    def count_on_duty(self) -> int:
        """How many riders of this node the geo index should have."""
        return sum(
            rider.is_indexed and rider.last_fix is not None for rider in self._riders.values()
        )

    def get(self, rider_id: str) -> RiderState | None:
        """The rider's state, None for a rider who is not at this node."""
        return self._riders.get(rider_id)

    def connect(self, rider_id: str) -> RiderState:
        """Count a new socket of the rider; the rider's state, new or as an earlier socket left it.

        Every call must be followed by one of `disconnect`.
        """
        rider = self._riders.get(rider_id)
        if rider is None:
            rider = self._riders[rider_id] = RiderState(rider_id)
        rider.socket_count += 1
        rider.forget_seq()
        rider.clock.trust_again()
        return rider

    def observe(self, rider_id: str, now_ms: int) -> None:
        """Note that something was received from one of the rider's sockets.

        Units: Unix milliseconds.
        """
        rider = self._riders.get(rider_id)
        if rider is not None:
            rider.seen_at_ms = now_ms

    def disconnect(self, rider_id: str) -> None:
        """Count a closed socket of the rider; the state stays until the rider is lost."""
        rider = self._riders.get(rider_id)
        if rider is None:
            return
        rider.socket_count = max(0, rider.socket_count - 1)
        if rider.socket_count == 0 and (rider.last_fix is None or not rider.is_indexed):
            self._remove(rider)

    def set_attributes(self, rider_id: str, attributes: RiderAttributes) -> None:
        """Replace what is known of the rider."""
        rider = self._riders.get(rider_id)
        if rider is not None:
            rider.attributes = attributes
            rider.speed_max_mps = speed_max_mps(attributes.vehicle)
            self._refresh_index(rider)

    def set_available(self, rider_id: str, *, available: bool, until_ms: int | None = None) -> None:
        """Put the rider on or off duty; off duty and without an order it leaves the index.

        Units: Unix milliseconds; from `until_ms` on it takes no order, None is no limit.
        """
        rider = self._riders.get(rider_id)
        if rider is not None and (rider.available, rider.until_ms) != (available, until_ms):
            rider.available, rider.until_ms = available, until_ms
            self._refresh_index(rider)

    def assign(self, rider_id: str, order_id: str, assigned_at_ms: int = 0) -> None:
        """Add an order to the rider's workload; its watchers and its trail get the rider's fixes.

        Units: Unix milliseconds, 0 is unknown; older fixes do not go into the order's trail.
        """
        rider = self._riders.get(rider_id)
        if rider is not None and order_id not in rider.orders:
            rider.orders = (*rider.orders, order_id)
            rider.assigned_at_ms[order_id] = assigned_at_ms
            # The order's trail begins with the next fix, moved or not.
            rider.trail_anchor = None
            # Makes the next fix mark the new order as local too.
            rider.is_marked_local = False
            self._refresh_index(rider)

    def set_assignment(self, rider_id: str, assignment: RiderAssignment) -> None:
        """Set pickup, dropoff and stage of an order that the rider carries."""
        rider = self._riders.get(rider_id)
        if rider is not None and assignment.order_id in rider.orders:
            others = tuple(each for each in rider.legs if each.order_id != assignment.order_id)
            rider.legs = (*others, RouteLeg(assignment))
            rider.rules_due_ms = 0

    def release(self, rider_id: str, order_id: str) -> None:
        """Remove an order from the rider's workload; its watchers get no further fixes."""
        rider = self._riders.get(rider_id)
        if rider is not None and order_id in rider.orders:
            rider.orders = tuple(each for each in rider.orders if each != order_id)
            rider.assigned_at_ms.pop(order_id, None)
            rider.legs = tuple(each for each in rider.legs if each.order_id != order_id)
            rider.extra_packets.clear()
            self._local_orders.unmark_local(order_id)
            self._refresh_index(rider)

    def set_orders(self, rider_id: str, order_ids: Collection[str]) -> None:
        """Make these orders, as the table has them, the rider's whole workload."""
        rider = self._riders.get(rider_id)
        for order_id in set(rider.orders).difference(order_ids) if rider else ():
            self.release(rider_id, order_id)
        for order_id in order_ids:
            self.assign(rider_id, order_id)

    def record_offer(self, rider_id: str, now_ms: int) -> None:
        """Count an offer to the rider. Units: Unix milliseconds."""
        rider = self._riders.get(rider_id)
        if rider is not None:
            rider.offered_at_ms = (*rider.offered_at_ms, now_ms)
            self._refresh_index(rider)

    def mark_live(self, rider: RiderState) -> None:
        """Note a live fix: the watchers of the rider's orders need no other node's positions."""
        rider.is_marked_local = True
        rider.freshness = "live"
        for order_id in rider.orders:
            self._local_orders.mark_local(order_id)

    def mark_elsewhere(self, rider: RiderState) -> None:
        """Note that another node has the rider's positions: its watchers here need that one's."""
        if rider.is_marked_local:
            self._unmark_local(rider)

    def sweep(self, now_ms: int) -> list[RiderState]:
        """The riders that became stale or lost since the last sweep; lost ones leave the index.

        A lost rider without a socket is forgotten.

        Units: Unix milliseconds.
        """
        self._expire_offers(now_ms - OFFERS_WINDOW_MS)
        for rider in self._riders.values():
            if rider.orders and rider.is_presence_due:
                self._write_queue.enqueue(rider)
        fresh_ms = self.limits.fresh_ms
        # Nearly all have reported: thousands are passed over each second.
        downgraded = [
            rider
            for rider in self._riders.values()
            if rider.freshness != "lost"
            and (last := rider.last_fix) is not None
            and (age_ms := now_ms - last.position.received_at) > fresh_ms
            and self._downgrade(rider, age_ms)
        ]
        for rider in downgraded:
            self._unmark_local(rider)
            self._refresh_index(rider)
            if rider.freshness == "lost" and rider.socket_count == 0:
                del self._riders[rider.rider_id]
        return downgraded

    def take_clock_steps(self) -> int:
        """How often phones' clocks were set since the last call, as far as it was noticed."""
        return sum(
            rider.clock.take_steps() for rider in self._riders.values() if rider.clock.step_count
        )

    def _expire_offers(self, before_ms: int) -> None:
        for rider in self._riders.values():
            if rider.offered_at_ms and rider.offered_at_ms[0] < before_ms:
                rider.offered_at_ms = tuple(at for at in rider.offered_at_ms if at >= before_ms)
                self._refresh_index(rider)

    def _downgrade(self, rider: RiderState, age_ms: int) -> bool:
        """Set the freshness of a silent rider by the age of its last fix; whether it changed."""
        before = rider.freshness
        rider.freshness = self.limits.of_age(age_ms)
        return rider.freshness != before

    def _refresh_index(self, rider: RiderState) -> None:
        rider.refresh_facts()
        if rider.last_fix is not None:
            self._write_queue.enqueue(rider)

    def _remove(self, rider: RiderState) -> None:
        self._unmark_local(rider)
        del self._riders[rider.rider_id]

    def _unmark_local(self, rider: RiderState) -> None:
        rider.is_marked_local = False
        for order_id in rider.orders:
            self._local_orders.unmark_local(order_id)
