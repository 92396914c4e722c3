"""Base of the order use cases: their stores, and how a request is built and committed."""

from typing import Protocol

import msgspec

from dispatch.accounts.standing import StandingRules
from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import ServiceRates
from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.ids import OrderId, RiderId
from dispatch.model import OfferPolicy, Order, Position
from dispatch.orders.extra_writes import ExtraWritesBuilder, no_extra_writes
from dispatch.orders.learned_stats import LearnedStats
from dispatch.orders.standing_checks import StandingChecks
from dispatch.orders.transitions.context import Actor, InputT, Transition, TransitionRequest
from dispatch.orders.transitions.handover import HandoverPolicy
from dispatch.orders.unit_of_work import (
    ENGINE,
    Caller,
    Committed,
    ExtraWrites,
    ExtraWritesFactory,
    OrderUnitOfWork,
)
from dispatch.riders.store import Riders
from dispatch.service_area import ServiceArea
from dispatch.storage.leases import Fence
from dispatch.tracking.stores.positions import Positions
from dispatch.wire import commands
from dispatch.wire.snapshots import Snapshot
from ledger.core.pricing import Service
from ledger.posting.ledger import Ledger
from matching.speeds import LearnedSpeeds


class OfferPolicies(Protocol):
    """Reads a service's offer policy; implemented by `offers.policy_store`."""

    async def get(self, service: Service) -> OfferPolicy:
        """The policy of a service. Errors: StoreUnavailable."""
        ...


class OrderStores(msgspec.Struct, frozen=True, kw_only=True):
    """What the use cases read and write."""

    catalogue: Catalogue
    service_rates: ServiceRates
    promotions: Promotions
    riders: Riders
    positions: Positions
    speeds: LearnedSpeeds
    learned_stats: LearnedStats
    ledger: Ledger
    unit_of_work: OrderUnitOfWork
    fence: Fence
    payment_provider: str
    service_area: ServiceArea
    offer_policies: OfferPolicies
    handover_policy: HandoverPolicy = HandoverPolicy()
    # Source: docs/contract.md, a rider carries one order at a time unless configured otherwise.
    rider_orders_max: int = 1
    standing_rules: StandingRules = StandingRules()


class OrderUseCases:
    """Base class: builds transition requests and commits them."""

    def __init__(self, stores: OrderStores, clock: Clock) -> None:
        self._stores = stores
        self._unit_of_work = stores.unit_of_work
        self._clock = clock
        self._extra_writes = ExtraWritesBuilder(
            stores.catalogue,
            stores.ledger,
            clock,
            stores.rider_orders_max,
            StandingChecks(stores.standing_rules),
        )

    def _request(
        self, name: str, caller: Caller, request_input: InputT
    ) -> TransitionRequest[InputT]:
        return TransitionRequest(
            name=name,
            actor=Actor(audience=caller.audience, id=caller.id),
            now_ms=self._clock.now_ms(),
            input=request_input,
        )

    async def _last_position(self, rider_id: RiderId) -> Position | None:
        """A rider's last position; None also where Redis cannot answer: no command waits for it."""
        try:
            return await self._stores.positions.last_position(rider_id)
        except StoreUnavailable:
            return None

    async def _commit_command(
        self,
        name: str,
        caller: Caller,
        command: commands.OrderCommand,
        extra_writes_for: ExtraWritesFactory = no_extra_writes,
    ) -> Snapshot:
        """Commit a client's command; the answer to it."""
        request = self._request(name, caller, command)
        committed = await self._unit_of_work.commit(
            caller, OrderId(command.order_id), request, extra_writes_for
        )
        return committed.answer

    async def _commit_by_server(
        self,
        name: str,
        order_id: OrderId,
        request_input: object,
        extra_writes_for: ExtraWritesFactory = no_extra_writes,
    ) -> Committed:
        """Commit a transition of the server's own, on any node."""
        request = self._request(name, ENGINE, request_input)
        return await self._unit_of_work.commit(ENGINE, order_id, request, extra_writes_for)

    async def _commit_by_engine(
        self,
        name: str,
        order_id: OrderId,
        request_input: object,
        extra_writes_for: ExtraWritesFactory = no_extra_writes,
        loaded: Order | None = None,
    ) -> Order:
        """Commit a transition of the live engine; the order after it.

        Errors: LeadershipLost where this node's lease has ended.
        """

        async def fenced(order: Order, transition: Transition) -> ExtraWrites:
            extra_writes = await extra_writes_for(order, transition)
            # Nothing is awaited between this check of the lease and the write.
            self._stores.fence.token()
            return extra_writes

        request = self._request(name, ENGINE, request_input)
        return committed_order(
            await self._unit_of_work.commit(ENGINE, order_id, request, fenced, loaded)
        )


def committed_order(committed: Committed) -> Order:
    """The order after a request of the server's own, which has no idempotency key."""
    assert committed.order is not None, "only a repetition has no order"
    return committed.order
