"""Deliveries: cash that a rider collects, and orders that are taken back from riders."""

import pytest

from dispatch.errors import StoreUnavailable
from dispatch.model import DispatchState, OfferOutcome
from dispatch.riders.store import workload_key
from dispatch.wire import commands
from dispatch.wire.http.offer_policy import OfferSettings
from tests.dispatch.order_scenario import OrderScenario
from tests.dispatch.orders.refusals import refusal_of

pytestmark = pytest.mark.engines


async def test_cash_settles_against_the_riders_debt(order_scenario: OrderScenario):
    """The rider owes what it collected; vendor and rider are paid; the sum is zero."""
    order_id = await order_scenario.place_order(method="CASH")
    await order_scenario.accept_order(order_id)
    await order_scenario.deliver(order_id)
    await order_scenario.settlement_worker.settle(order_id)
    balances = await order_scenario.account_balances()

    assert balances["RIDERCASH#rdr_1"] == -9_500


async def test_a_released_order_frees_rider_and_cash(order_scenario: OrderScenario):
    """The order searches again, and its rider may take another."""
    order_id = await order_scenario.place_order(method="CASH", quantity=10)
    await order_scenario.accept_order(order_id)
    await order_scenario.assign(order_id)
    release = commands.ReleaseDelivery(order_id=order_id, reason="flat tyre")
    await order_scenario.order_service.release_delivery(
        order_scenario.caller("rider", "rdr_1"), release
    )
    other_id = await order_scenario.place_order(method="CASH", quantity=11)
    await order_scenario.accept_order(other_id)
    offers = await order_scenario.make_offers(other_id, "rdr_1")
    accept = order_scenario.accept_delivery(other_id, "rdr_1", offers["rdr_1"])
    dispatch = (await order_scenario.order(order_id)).dispatch

    assert dispatch is not None
    assert dispatch.state is DispatchState.SEARCHING
    assert await refusal_of(accept) == "ok"


@pytest.mark.parametrize(
    ("outcome", "counts"), [(OfferOutcome.MOVED, False), (OfferOutcome.VANISHED, True)]
)
async def test_a_withdrawal_counts_against_the_rider_unless_it_was_moved(
    order_scenario: OrderScenario, outcome: OfferOutcome, counts: bool
):
    """An order that a batch gives to another rider is not one that was given back."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.assign(order_id)
    after = await order_scenario.order_service.withdraw_delivery(order_id, outcome)
    item = await order_scenario.table.get(workload_key("rdr_1"))

    assert after.rider_id is None
    assert item is not None
    assert (item.get("givenBack", 0) == 1) is counts
    assert (await order_scenario.riders.workload("rdr_1")).orders == ()


async def test_an_operator_takes_an_order_from_its_rider(order_scenario: OrderScenario):
    """The search begins again with the rider that the operator names."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.assign(order_id)
    command = commands.Reassign(order_id=order_id, rider_id="rdr_2")
    await order_scenario.order_service.reassign(order_scenario.caller("ops", "adm_1"), command)
    dispatch = (await order_scenario.order(order_id)).dispatch

    assert dispatch is not None
    assert (dispatch.state, dispatch.wanted) == (DispatchState.SEARCHING, "rdr_2")
    assert (await order_scenario.event_names("rider:rdr_1"))[-1] == "delivery_request_closed"


async def test_a_delivery_keeps_where_its_rider_was(order_scenario: OrderScenario):
    """The rider is at the vendor's, 1.9 km away: the order keeps it, and operators are alerted."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.deliver(order_id)
    await order_scenario.relay_outbox()
    order = await order_scenario.order(order_id)

    assert order.dispatch is not None
    assert order.dispatch.evidence["complete_delivery"].distance_m == pytest.approx(1_890, abs=20)
    assert [alert.kind for alert in await order_scenario.alerts.recent()] == ["completed_far"]


async def test_a_delivery_does_not_need_redis(
    order_scenario: OrderScenario, monkeypatch: pytest.MonkeyPatch
):
    """Without the rider's position the delivery is completed, and has no evidence."""

    async def fail(_rider_id: str) -> None:
        raise StoreUnavailable("redis", "down")

    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    monkeypatch.setattr(order_scenario.positions, "last_position", fail)
    await order_scenario.deliver(order_id)
    order = await order_scenario.order(order_id)

    assert order.dispatch is not None
    assert (order.status, order.dispatch.evidence) == ("DELIVERED", {})


@pytest.mark.parametrize("implies_ready", [True, False])
async def test_a_rider_takes_goods_that_nobody_reported_ready(
    order_scenario: OrderScenario, implies_ready: bool
):
    """By the policy of the service, which is on unless an operator turned it off.

    No preparation time is learned from it.
    """
    if_off = OfferSettings(pickup_implies_ready=implies_ready)
    await order_scenario.offer_policies.put_offers("FOOD", if_off, "adm_1")
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.assign(order_id)
    order_scenario.clock.advance(20 * 60_000)
    pick_up = order_scenario.order_service.pick_up(
        order_scenario.caller("rider", "rdr_1"), commands.PickUp(order_id=order_id)
    )
    outcome = await refusal_of(pick_up)
    await order_scenario.learned_stats.flush()
    order = await order_scenario.order(order_id)

    assert (outcome, order.ready_by) == (
        ("ok", "pickup") if implies_ready else ("wrong_state", None)
    )
    assert (await order_scenario.learned_stats.prep_times(["ven_1"]))["ven_1"] == {}
