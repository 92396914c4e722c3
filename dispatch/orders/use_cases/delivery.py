"""Use cases of an assigned order: arrivals, pickup, delivery, and giving it back."""

from typing import Any

from msgspec.structs import replace

from dispatch.errors import Refusal, Refused
from dispatch.ids import OrderId, RiderId
from dispatch.model import OfferOutcome, Order
from dispatch.orders.extra_writes import no_extra_writes
from dispatch.orders.transitions.concerns import ConcernFacts
from dispatch.orders.transitions.context import ArrivalFacts, Pickup, Transition, TransitionRequest
from dispatch.orders.transitions.handover import Handover
from dispatch.orders.unit_of_work import Caller, ExtraWrites, ExtraWritesFactory
from dispatch.orders.use_cases.base import OrderUseCases
from dispatch.wire import commands
from dispatch.wire.events import Stop
from dispatch.wire.snapshots import Snapshot


class DeliveryUseCases(OrderUseCases):
    """Carries out commands of assigned riders, and takes orders back from riders.

    Errors: every method raises Refused NOT_FOUND or WRONG_STATE; StoreUnavailable.
    """

    async def arrived_pickup(self, caller: Caller, command: commands.ArrivedPickup) -> Snapshot:
        """Record that the rider says it is at the pickup."""
        return await self._commit_at_stop("arrived_pickup", caller, command)

    async def record_arrival(self, order_id: OrderId, rider_id: RiderId, stop: Stop) -> None:
        """Record that the rider's positions showed it at a stop; the arrival is sent once.

        Any node does this for the riders connected to it. It needs no lease: nothing is decided.

        Errors: Refused WRONG_STATE where the order moved on.
        """
        await self._commit_by_server("record_arrival", order_id, ArrivalFacts(rider_id, stop))

    async def pick_up(self, caller: Caller, command: commands.PickUp) -> Snapshot:
        """Record that the rider has the goods."""
        position = await self._last_position(RiderId(caller.id))

        async def request_for(order: Order) -> TransitionRequest[Pickup]:
            # Another's order must cost no read more than one that does not exist.
            is_carried_by_caller = order.rider_id == caller.id
            implies_ready = (
                is_carried_by_caller
                and (await self._stores.offer_policies.get(order.order_type)).pickup_implies_ready
            )
            pickup = Pickup(command, implies_ready)
            return replace(self._request("pick_up", caller, pickup), position=position)

        committed = await self._unit_of_work.commit(
            caller, OrderId(command.order_id), request_for, no_extra_writes
        )
        return committed.answer

    async def arrived_dropoff(self, caller: Caller, command: commands.ArrivedDropoff) -> Snapshot:
        """Record that the rider says it is at the dropoff."""
        return await self._commit_at_stop("arrived_dropoff", caller, command)

    async def complete_delivery(
        self, caller: Caller, command: commands.CompleteDelivery
    ) -> Snapshot:
        """Record that the goods are handed over; the order may be settled.

        Errors: Refused MALFORMED for cash that cannot have been collected.
        """

        async def extra_writes_for(order: Order, transition: Transition) -> ExtraWrites:
            return self._extra_writes.for_delivery(order, transition, RiderId(caller.id))

        handover = Handover(command, self._stores.handover_policy)
        request = self._request("complete_delivery", caller, handover)
        return await self._commit_with_position(caller, command, request, extra_writes_for)

    async def _commit_at_stop(
        self, name: str, caller: Caller, command: commands.OrderCommand
    ) -> Snapshot:
        request = self._request(name, caller, command)
        return await self._commit_with_position(caller, command, request, no_extra_writes)

    async def _commit_with_position(
        self,
        caller: Caller,
        command: commands.OrderCommand,
        request: TransitionRequest[Any],
        extra_writes_for: ExtraWritesFactory,
    ) -> Snapshot:
        """Commit a command of a rider at a stop, with its last position as evidence."""
        position = await self._last_position(RiderId(caller.id))
        committed = await self._unit_of_work.commit(
            caller, OrderId(command.order_id), replace(request, position=position), extra_writes_for
        )
        return committed.answer

    async def note_concerns(self, order_id: OrderId, facts: ConcernFacts) -> Order:
        """Note what worries the engine about goods under way, and alert operators of what is new.

        Errors: Refused WRONG_STATE where they were delivered; LeadershipLost.
        """
        return await self._commit_by_engine("note_concerns", order_id, facts)

    async def release_delivery(self, caller: Caller, command: commands.ReleaseDelivery) -> Snapshot:
        """The rider gives the order back before the pickup; the search begins again."""
        return await self._commit_command(
            "release_delivery", caller, command, self._extra_writes.for_release
        )

    async def withdraw_delivery(self, order_id: OrderId, outcome: OfferOutcome) -> Order:
        """The engine takes the order from its rider; the search begins again.

        Errors: Refused WRONG_STATE where the rider has picked it up; LeadershipLost.
        """
        extra_writes_for = (
            self._extra_writes.for_reassignment
            if outcome is OfferOutcome.MOVED
            else self._extra_writes.for_release
        )
        return await self._commit_by_engine(
            "withdraw_delivery", order_id, outcome, extra_writes_for
        )

    async def reassign(self, caller: Caller, command: commands.Reassign) -> Snapshot:
        """An operator takes the order from its rider; the search begins again."""
        return await self._commit_command(
            "reassign", caller, command, self._extra_writes.for_release
        )

    async def take_back(self, caller: Caller, order_id: OrderId, rider_id: RiderId) -> Snapshot:
        """An operator takes the order from a rider who may not carry it; the search begins again.

        Errors: Refused WRONG_STATE after the pickup, and where another rider has it by now.
        """

        async def extra_writes_for(order: Order, transition: Transition) -> ExtraWrites:
            if order.rider_id != rider_id:
                raise Refused(Refusal.WRONG_STATE, "another rider has the order")
            return await self._extra_writes.for_release(order, transition)

        command = commands.Reassign(order_id=order_id)
        return await self._commit_command("reassign", caller, command, extra_writes_for)
