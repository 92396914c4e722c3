"""Extra writes: what belongs to a placement, an assignment, a cancellation and a rating."""

from typing import cast

import pytest
from msgspec.structs import replace

from dispatch.accounts.standing import StandingRules
from dispatch.catalogue.store import Catalogue
from dispatch.clock import ManualClock
from dispatch.errors import Refusal
from dispatch.ids import RiderId
from dispatch.model import (
    Decision,
    DispatchState,
    Order,
    OrderLine,
    OrderPayment,
    OrderStatus,
    PaymentMethod,
    PaymentState,
)
from dispatch.orders.extra_writes import (
    ExtraWritesBuilder,
    decision_writes,
    no_extra_writes,
    rating_writes,
)
from dispatch.orders.standing_checks import StandingChecks
from dispatch.orders.transitions.context import Transition
from dispatch.orders.unit_of_work import ExtraWrites
from dispatch.riders.store import workload_key
from ledger.core.cancellation_matrix import Fault
from ledger.core.facts import Capture, Refund, Settle
from ledger.core.order_funds import FundsState
from ledger.dynamodb.table import Put, Table, Update, Write
from ledger.posting.ledger import Ledger
from tests.factories import a_cash_payment, a_payment, an_order

RIDER = RiderId("rdr_1")
STOCKED = OrderLine(item_id="juice", name="Juice", quantity=2, unit_price=700, stocked=True)


class NoTable:
    """A table that must not be asked: the writes are built from the order alone."""

    async def get_many(self, _keys: object) -> object:
        """Fail."""
        raise AssertionError("nothing is read")


@pytest.fixture
def builder() -> ExtraWritesBuilder:
    """A builder for riders who carry one order."""
    clock, table = ManualClock(), cast("Table", NoTable())
    standing = StandingChecks(StandingRules())
    return ExtraWritesBuilder(
        Catalogue(table, clock), Ledger(table, clock.now_ms), clock, 1, standing
    )


def after(order: Order, **changes: object) -> Transition:
    """A transition to an order with these changes."""
    return Transition(order=replace(order, **changes))


def refusals(extra_writes: ExtraWrites) -> list[Refusal]:
    return [extra.refusal.code for extra in extra_writes.writes]


def keys_of(extra_writes: ExtraWrites) -> list[tuple[str, str]]:
    return [key_of(extra.write) for extra in extra_writes.writes]


def key_of(write: Write) -> tuple[str, str]:
    if isinstance(write, Put):
        return write.item["PK"], write.item["SK"]
    return write.key.pk, write.key.sk


def test_a_wallet_order_is_captured_when_it_is_placed(builder: ExtraWritesBuilder):
    """Counted stock is reserved, after the standing of customer and vendor was checked.

    A failed reservation means a sold-out item.
    """
    extra_writes = builder.for_placement(replace(an_order(), items=(STOCKED,)), None)

    assert isinstance(extra_writes.fact, Capture)
    assert refusals(extra_writes)[2:] == [Refusal.ITEM_UNAVAILABLE]
    assert keys_of(extra_writes)[:2] == [("USER#usr_1", "STANDING"), ("VENDOR#ven_1", "STANDING")]


@pytest.mark.parametrize(
    ("payment", "codes"),
    [
        (a_cash_payment(), [Refusal.DEBT_OPEN, Refusal.CONFLICT]),
        (
            a_payment(PaymentState.PENDING, PaymentMethod.MOBILE_MONEY),
            [Refusal.CONFLICT, Refusal.CONFLICT],
        ),
    ],
)
def test_other_orders_only_open_their_funds(
    builder: ExtraWritesBuilder, payment: OrderPayment, codes: list[Refusal]
):
    """Mobile money also has a payment that its provider will report; cash is not for debtors."""
    extra_writes = builder.for_placement(replace(an_order(), payment=payment), None)

    assert extra_writes.fact is None
    assert refusals(extra_writes)[2:] == codes
    assert ("ORDER#ord_1", "FUNDS") in keys_of(extra_writes)


@pytest.mark.parametrize(
    ("payment", "codes"),
    [
        (a_payment(), {Refusal.CONFLICT}),
        (a_cash_payment(), {Refusal.CONFLICT, Refusal.CASH_LIMIT}),
    ],
)
def test_an_assignment_claims_the_rider_and_its_cash(
    builder: ExtraWritesBuilder, payment: OrderPayment, codes: set[Refusal]
):
    """The condition is the rider's open offer instead of the order's owner."""
    order = replace(an_order(), payment=payment)
    extra_writes = builder.for_assignment(order, RIDER, "ofr_1")

    assert set(refusals(extra_writes)[1:]) == codes
    assert keys_of(extra_writes)[:2] == [("RIDER#rdr_1", "STANDING"), tuple(workload_key(RIDER))]
    assert extra_writes.condition is not None
    assert extra_writes.condition.values[":offer"] == "ofr_1"


async def test_an_order_without_a_rider_releases_none(builder: ExtraWritesBuilder):
    """An operator may restart a search that has no rider."""
    order = an_order(OrderStatus.ACCEPTED, DispatchState.SEARCHING)

    assert (await builder.for_release(order, after(order))).writes == []


async def test_offers_check_each_rider_and_store_the_decision(
    builder: ExtraWritesBuilder,
):
    """Its standing, then its capacity; a failed check names the rider."""
    order = an_order(OrderStatus.ACCEPTED, DispatchState.SEARCHING)
    decision = Decision(at_ms=1, wave=1, radius_km=1.5)
    extra_writes = await builder.for_offers([RIDER], decision)(order, after(order))

    assert keys_of(extra_writes) == [
        ("RIDER#rdr_1", "STANDING"), tuple(workload_key(RIDER)), ("ORDER#ord_1", "DECISION#00"),
    ]  # fmt: skip
    named = [extra.refusal.details for extra in extra_writes.writes[:2]]
    assert [details and details["riderId"] for details in named] == [RIDER, RIDER]


async def test_a_search_without_a_decision_writes_nothing_more():
    """As a transition that needs no further writes."""
    order = an_order(OrderStatus.ACCEPTED, DispatchState.SEARCHING)

    assert await decision_writes(None)(order, after(order)) == ExtraWrites()
    assert await no_extra_writes(order, after(order)) == ExtraWrites()


async def test_a_settlement_expects_the_funds_of_a_delivered_order(builder: ExtraWritesBuilder):
    """The ledger verifies them by a condition."""
    order = an_order(OrderStatus.DELIVERED, DispatchState.DONE)
    extra_writes = await builder.for_settlement(order, after(order))

    assert isinstance(extra_writes.fact, Settle)
    assert extra_writes.expected_funds is not None
    assert extra_writes.expected_funds.funds_state is FundsState.DELIVERED


@pytest.mark.parametrize(
    ("payment", "status", "expected"),
    [
        (a_payment(), OrderStatus.ACCEPTED, FundsState.CAPTURED),
        (a_cash_payment(), OrderStatus.READY, FundsState.DUE),
    ],
)
async def test_a_cancellation_refunds_or_compensates(
    builder: ExtraWritesBuilder, payment: OrderPayment, status: OrderStatus, expected: FundsState
):
    """A prepaid order is refunded; a cash order that is ready pays compensation."""
    order = replace(an_order(status, DispatchState.ASSIGNED), payment=payment)
    cancelled = after(order, reason="late")
    extra_writes = await builder.for_cancellation(order, cancelled, Fault.CUSTOMER)

    assert extra_writes.expected_funds is not None
    assert extra_writes.expected_funds.funds_state is expected
    assert isinstance(extra_writes.fact, Refund)
    assert extra_writes.fact.reason == "late"


async def test_an_early_cancellation_voids_the_funds_of_a_cash_order(builder: ExtraWritesBuilder):
    """Nothing was collected and nobody has worked: there is no fact, only the order's funds end."""
    order = an_order(OrderStatus.ACCEPTED, DispatchState.ASSIGNED)
    order = replace(order, payment=a_cash_payment())
    cancelled = after(order, reason="late")
    extra_writes = await builder.for_cancellation(order, cancelled, Fault.CUSTOMER)

    assert extra_writes.expected_funds is None
    assert keys_of(extra_writes)[-1] == ("ORDER#ord_1", "FUNDS")


async def test_a_rating_counts_once():
    """Only the first of an order that had a rider."""
    order = an_order(OrderStatus.DELIVERED, DispatchState.DONE)
    rated = replace(order, rating=4)
    [write] = (await rating_writes(order, after(order, rating=5))).writes

    assert isinstance(write.write, Update)
    assert write.write.values[":stars"] == 5
    assert (await rating_writes(rated, after(rated, rating=5))).writes == ()
    unassigned = an_order(OrderStatus.DELIVERED)
    assert (await rating_writes(unassigned, after(unassigned, rating=5))).writes == ()
