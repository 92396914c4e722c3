"""Use cases of the rider that carries an order: the order's step, and what follows on this node."""

from typing import Protocol

from dispatch.clock import Clock
from dispatch.orders.service import OrderService
from dispatch.orders.unit_of_work import Caller
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.wire import commands
from dispatch.wire.snapshots import Snapshot


class SettlementQueue(Protocol):
    """Takes delivered orders to be settled soon."""

    def enqueue(self, order_id: str) -> None:
        """Settle an order that has just been delivered; never waits."""
        ...


class RiderDeliveries:
    """Accepts, completes and releases deliveries.

    The rider's state on this node follows at once; the event of the workload change, which reaches
    every node of the rider's sockets, brings the same a moment later.
    """

    def __init__(
        self,
        order_service: OrderService,
        rider_registry: RiderRegistry,
        settlements: SettlementQueue,
        clock: Clock,
    ) -> None:
        self._order_service = order_service
        self._rider_registry = rider_registry
        self._settlements = settlements
        self._clock = clock

    async def accept(self, caller: Caller, command: commands.AcceptDelivery) -> Snapshot:
        """Accept an offered delivery; the order's watchers see the rider's fixes from then on.

        A repeat gets the first answer and changes nothing: the rider may not carry the order any
        more.

        Errors: as `OrderService.accept_delivery`.
        """
        committed = await self._order_service.commit_acceptance(caller, command)
        if committed.transition is not None and committed.transition.claimed_rider_id is not None:
            self._rider_registry.assign(caller.id, command.order_id, self._clock.now_ms())
        return committed.answer

    async def complete(self, caller: Caller, command: commands.CompleteDelivery) -> Snapshot:
        """Hand the goods over, and have the order settled.

        Errors: as `OrderService.complete_delivery`.
        """
        answer = await self._order_service.complete_delivery(caller, command)
        self._rider_registry.release(caller.id, command.order_id)
        self._settlements.enqueue(command.order_id)
        return answer

    async def release(self, caller: Caller, command: commands.ReleaseDelivery) -> Snapshot:
        """Give a delivery back before the pickup.

        Errors: as `OrderService.release_delivery`.
        """
        answer = await self._order_service.release_delivery(caller, command)
        self._rider_registry.release(caller.id, command.order_id)
        return answer
