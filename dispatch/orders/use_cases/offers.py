"""Use cases of offers: the engine makes and ends them, riders accept or decline them."""

import asyncio

from msgspec.structs import replace

from dispatch import metrics
from dispatch.ids import OrderId, RiderId
from dispatch.model import Order, Position
from dispatch.orders.extra_writes import decision_writes
from dispatch.orders.store import offered_to
from dispatch.orders.transitions.context import (
    Acceptance,
    AssignmentFacts,
    NoCandidateFacts,
    OfferFacts,
    Transition,
    TransitionRequest,
)
from dispatch.orders.transitions.offers import EndedOffers, is_offered
from dispatch.orders.unit_of_work import Caller, Committed, ExtraWrites
from dispatch.orders.use_cases.base import OrderUseCases
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.wire import commands
from dispatch.wire.snapshots import Snapshot, order_snapshot
from matching.speeds import hour_of


class OfferUseCases(OrderUseCases):
    """Offers orders to riders, and carries out the riders' answers."""

    async def make_offers(
        self, order_id: OrderId, facts: OfferFacts, loaded: Order | None = None
    ) -> Order:
        """Offer the order to riders; `loaded` is the order where it was just read.

        Errors: Refused WRONG_STATE where the order no longer searches, CONFLICT where a rider
        carries another order (`details` has its `riderId`); LeadershipLost; StoreUnavailable.
        """
        extra_writes_for = self._extra_writes.for_offers(facts.offers, facts.decision)
        order = await self._commit_by_engine(
            "make_offers", order_id, facts, extra_writes_for, loaded
        )
        metrics.OFFERS.labels("made").inc(len(facts.offers))
        return order

    async def end_offers(self, order_id: OrderId, ended_offers: EndedOffers) -> Order:
        """End offers that were not answered in time or never shown.

        Errors: Refused WRONG_STATE; LeadershipLost; StoreUnavailable.
        """
        order = await self._commit_by_engine("end_offers", order_id, ended_offers)
        for rider_id in ended_offers.expired:
            # An offer that was shown and not answered counts as declined.
            self._stores.learned_stats.record_answer(rider_id, accepted=False)
        metrics.OFFERS.labels("expired").inc(len(ended_offers.expired))
        metrics.OFFERS.labels("unread").inc(len(ended_offers.unread))
        return order

    async def exhaust_search(self, order_id: OrderId, facts: NoCandidateFacts) -> Order:
        """Record that no rider can be asked now.

        Errors: Refused WRONG_STATE; LeadershipLost; StoreUnavailable.
        """
        return await self._commit_by_engine(
            "exhaust_search", order_id, facts, decision_writes(facts.decision)
        )

    async def accept_delivery(self, caller: Caller, command: commands.AcceptDelivery) -> Snapshot:
        """Assign the order to the first rider who accepts, within its capacity and cash limit.

        Errors: Refused OFFER_TAKEN, OFFER_EXPIRED, CONFLICT (the rider carries another order),
        CASH_LIMIT; StoreUnavailable.
        """
        return (await self.commit_acceptance(caller, command)).answer

    async def commit_acceptance(
        self, caller: Caller, command: commands.AcceptDelivery
    ) -> Committed:
        """As `accept_delivery`; the transition's `claimed_rider_id` is None for a repetition."""
        rider_id = RiderId(caller.id)

        async def request_for(order: Order) -> TransitionRequest[Acceptance]:
            # No reads for a rider whose offer is not open.
            may_win = is_offered(order, rider_id, command.offer_id)
            facts = await self._assignment_facts(rider_id) if may_win else AssignmentFacts()
            return self._request("accept_delivery", caller, Acceptance(command, facts))

        async def extra_writes_for(order: Order, transition: Transition) -> ExtraWrites:
            extra_writes = self._extra_writes.for_assignment(order, rider_id, command.offer_id)
            return replace(extra_writes, answer=order_snapshot(transition.order, "rider"))

        committed = await self._unit_of_work.commit(
            caller, OrderId(command.order_id), request_for, extra_writes_for
        )
        if committed.order is None or committed.transition is None:
            return committed
        if committed.transition.claimed_rider_id:
            metrics.OFFERS.labels("accepted").inc()
            self._stores.learned_stats.record_answer(rider_id, accepted=True)
        return replace(committed, answer=order_snapshot(committed.order, "rider"))

    async def _assignment_facts(self, rider_id: RiderId) -> AssignmentFacts:
        profile, position = await asyncio.gather(
            self._stores.riders.profile(rider_id), self._last_position(rider_id)
        )
        name, vehicle = (profile.name, profile.vehicle) if profile else (None, None)
        speed_mps = self._speed_mps(position, vehicle) if position else None
        return AssignmentFacts(name=name, vehicle=vehicle, position=position, speed_mps=speed_mps)

    def _speed_mps(self, position: Position, vehicle: str | None) -> float:
        """The learned speed there and now, as later estimates of arrival use it."""
        hour = hour_of(self._clock.now_ms())
        return self._stores.speeds.speed_mps((cell_of(position.lat, position.lng), hour, vehicle))

    async def decline_delivery(self, caller: Caller, command: commands.DeclineDelivery) -> Snapshot:
        """Decline an offer; after the last one of a wave the search goes on at once.

        Errors: Refused OFFER_TAKEN, OFFER_EXPIRED; StoreUnavailable.
        """
        rider_id = RiderId(caller.id)
        condition = offered_to(rider_id, command.offer_id, self._clock.now_ms())

        async def extra_writes_for(order: Order, transition: Transition) -> ExtraWrites:
            return ExtraWrites(condition=condition)

        request = self._request("decline_delivery", caller, command)
        committed = await self._unit_of_work.commit(
            caller, OrderId(command.order_id), request, extra_writes_for
        )
        metrics.OFFERS.labels("declined").inc()
        if committed.order is not None:
            self._stores.learned_stats.record_answer(rider_id, accepted=False)
        return committed.answer
