"""Loads riders' stored state into this node's rider registry: at connect, and after a Redis gap."""

import asyncio

from dispatch.ids import RiderId
from dispatch.model import assignment_of
from dispatch.orders.store import OrderStore
from dispatch.riders.store import Riders, Workload
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.rider_state import RiderAttributes, RiderState


class RiderLoader:
    """Copies attributes, workload and assignments from DynamoDB into `RiderRegistry`."""

    def __init__(
        self,
        riders: Riders,
        orders: OrderStore,
        rider_registry: RiderRegistry,
        rider_orders_max: int,
    ) -> None:
        self._riders = riders
        self._orders = orders
        self._rider_registry = rider_registry
        self._rider_orders_max = rider_orders_max

    async def load(self, rider_id: RiderId) -> None:
        """Load a rider that has just connected to this node.

        What the registry still has from an earlier connection is replaced: the rider may have
        delivered its orders over another node.

        Errors: StoreUnavailable, TableUnavailable.
        DynamoDB: as `read`, then one GetItem for each order the rider carries.
        """
        workload, attributes = await self.read(rider_id)
        self._rider_registry.set_attributes(rider_id, attributes)
        await self._apply_workload(rider_id, workload)

    async def read(self, rider_id: RiderId) -> tuple[Workload, RiderAttributes]:
        """A rider's stored workload and attributes; the registry is not changed.

        Errors: StoreUnavailable.
        DynamoDB: three GetItems in parallel.
        """
        # In parallel: a thousand riders that reconnect at once share their batched reads.
        (workload, stats), profile, headroom_xaf = await asyncio.gather(
            self._riders.workload_and_stats(rider_id),
            self._riders.profile(rider_id),
            self._riders.cash_headroom(rider_id),
        )
        attributes = RiderAttributes(
            name=profile.name if profile else "",
            vehicle=profile.vehicle if profile else None,
            completion=stats.completion,
            rating=stats.rating,
            capacity=self._rider_orders_max,
            cash_headroom_xaf=headroom_xaf,
        )
        return workload, attributes

    async def reload_workload(self, rider: RiderState) -> None:
        """Load the workload of a rider of this node again.

        Nothing changes where the rider's state has changed since the call: that is newer than what
        was read.

        Errors: StoreUnavailable, TableUnavailable.
        DynamoDB: one GetItem, then one for each order the rider carries.
        """
        rider_id, before = RiderId(rider.rider_id), (rider.available, rider.orders)
        workload = await self._riders.workload(rider_id)
        is_same_rider = self._rider_registry.get(rider_id) is rider
        if is_same_rider and (rider.available, rider.orders) == before:
            await self._apply_workload(rider_id, workload)

    async def _apply_workload(self, rider_id: RiderId, workload: Workload) -> None:
        self._rider_registry.set_available(
            rider_id, available=workload.available, until_ms=workload.until_ms
        )
        self._rider_registry.set_orders(rider_id, workload.orders)
        for order_id in workload.orders:
            order = await self._orders.get(order_id)
            assignment = assignment_of(order) if order is not None else None
            if assignment is not None and order is not None and order.rider_id == rider_id:
                self._rider_registry.set_assignment(rider_id, assignment)
