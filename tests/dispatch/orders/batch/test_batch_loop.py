"""Batch loop on real stores: who is asked, when modes change, and why."""

from typing import Any

import pytest

from dispatch.errors import LeadershipLost
from dispatch.ids import OrderId, RiderId
from dispatch.model import Decision, DispatchState, OfferOutcome
from dispatch.riders.store import workload_key
from dispatch.storage.redis_client import RedisClients
from dispatch.wire import commands
from tests.dispatch.dispatch_scenario import DispatchScenario

pytestmark = pytest.mark.engines


async def run_batch(scenario: DispatchScenario, after_ms: int = 0) -> float:
    """Advance the clock and decide once, as the engine does."""
    scenario.clock.advance(after_ms)
    await scenario.order_scenario.relay_outbox()
    return await scenario.engine.batch_loop.run_once()


async def place_ready_order(scenario: DispatchScenario, **order: Any) -> OrderId:
    """An order whose goods are ready, so that a batch must not let it wait."""
    order_id = await scenario.place_accepted_order(**order)
    await scenario.order_scenario.order_service.order_ready(
        scenario.order_scenario.caller("vendor", "ven_1"),
        commands.OrderReady(order_id=order_id),
    )
    return order_id


async def last_decision(scenario: DispatchScenario, order_id: OrderId) -> Decision:
    """The last decision about an order."""
    return (await scenario.decisions.list_for(order_id))[-1][1]


async def test_orders_are_assigned_in_one_decision(dispatch_scenario: DispatchScenario):
    """Two orders and two riders: each rider is asked for one, with its costs as the reason."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider("near", 0.3)
    dispatch_scenario.positions.put_rider("far", 2.0)
    orders = [
        await place_ready_order(dispatch_scenario),
        await place_ready_order(dispatch_scenario),
    ]
    assert await run_batch(dispatch_scenario) == 5.0

    found = [await dispatch_scenario.dispatch_of(each) for each in orders]
    assert sorted(rider for each in found for rider in each.offers) == ["far", "near"]
    decisions = [await last_decision(dispatch_scenario, each) for each in orders]
    assert decisions[0].batch == decisions[1].batch is not None
    for order_id, decision in zip(orders, decisions, strict=True):
        [offer] = (await dispatch_scenario.dispatch_of(order_id)).offers.values()
        chosen, other = decision.candidates[:2]
        assert chosen.offer_id == offer.offer_id
        assert chosen.cost == pytest.approx(sum(chosen.parts.values()), abs=0.01)
        assert set(chosen.parts) == {"delay", "rider", "later", "decline", "end"}
        assert other.offer_id is None
        assert decision.prep.source == "house"


async def test_an_offer_of_a_batch_is_accepted_as_any_other(dispatch_scenario: DispatchScenario):
    """The engine then monitors the rider's approach."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider("near", 0.3)
    order_id = await place_ready_order(dispatch_scenario)
    await run_batch(dispatch_scenario)
    await dispatch_scenario.accept_delivery(order_id, "near")
    after = await dispatch_scenario.process_order(order_id)

    assert (after.state, after.rider_id) == (DispatchState.ASSIGNED, "near")
    assert await dispatch_scenario.order_scenario.event_names("rider:near") == [
        "delivery_request",
        "order_ready_for_pickup",
    ]


async def test_after_a_decline_the_next_rider_is_asked(dispatch_scenario: DispatchScenario):
    """The nearest rider has declined and is not asked again; the decision says so."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider("near", 0.3)
    dispatch_scenario.positions.put_rider("far", 2.0)
    order_id = await place_ready_order(dispatch_scenario)
    await run_batch(dispatch_scenario)
    await dispatch_scenario.decline_delivery(order_id, "near")
    await dispatch_scenario.process_order(order_id)
    await run_batch(dispatch_scenario)

    assert list((await dispatch_scenario.dispatch_of(order_id)).offers) == ["far"]
    near = next(
        c
        for c in (await last_decision(dispatch_scenario, order_id)).candidates
        if c.rider_id == "near"
    )
    assert near.excluded == "asked before: declined"


async def test_an_unread_offer_is_reopened(dispatch_scenario: DispatchScenario):
    """Two seconds without a display receipt, and the next batch asks another rider."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider("dead", 0.2)
    dispatch_scenario.positions.put_rider("alive", 0.9)
    order_id = await place_ready_order(dispatch_scenario)
    await run_batch(dispatch_scenario)
    ended = await dispatch_scenario.process_order(order_id, 2_000)
    await run_batch(dispatch_scenario)

    assert ended.asked[RiderId("dead")].outcome is OfferOutcome.UNREAD
    assert list((await dispatch_scenario.dispatch_of(order_id)).offers) == ["alive"]


async def test_no_rider_is_sent_too_early(dispatch_scenario: DispatchScenario):
    """Half an hour before the goods are ready no rider is asked, three minutes before one is."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider("near", 0.3)
    order_id = await dispatch_scenario.order_scenario.place_order()
    command = commands.AcceptOrder(order_id=order_id, prep_minutes=30)
    await dispatch_scenario.order_scenario.order_service.accept_order(
        dispatch_scenario.order_scenario.caller("vendor", "ven_1"), command
    )
    await run_batch(dispatch_scenario)
    early = await dispatch_scenario.dispatch_of(order_id)
    await run_batch(dispatch_scenario, 27 * 60_000)
    late = await dispatch_scenario.dispatch_of(order_id)

    assert early.state is DispatchState.SEARCHING
    assert list(late.offers) == ["near"]
    assert (await last_decision(dispatch_scenario, order_id)).prep.source == "vendor"


async def test_without_prep_minutes_the_learned_time_is_used(dispatch_scenario: DispatchScenario):
    """Three orders took the vendor half an hour each; the fourth is not offered too early."""
    await dispatch_scenario.set_policy(mode="batch")
    for _ in range(3):
        order_id = await dispatch_scenario.place_accepted_order()
        dispatch_scenario.clock.advance(30 * 60_000)
        command = commands.OrderReady(order_id=order_id)
        await dispatch_scenario.order_scenario.order_service.order_ready(
            dispatch_scenario.order_scenario.caller("vendor", "ven_1"), command
        )
        cancel = commands.CancelOrder(order_id=order_id)
        await dispatch_scenario.order_scenario.order_service.cancel_order(
            dispatch_scenario.order_scenario.caller("ops", "adm_1"), cancel
        )
    await dispatch_scenario.order_scenario.learned_stats.flush()
    dispatch_scenario.positions.put_rider("near", 0.3)
    order_id = await dispatch_scenario.place_accepted_order()
    await run_batch(dispatch_scenario, 15 * 60_000)
    early = await dispatch_scenario.dispatch_of(order_id)
    await run_batch(dispatch_scenario, 10 * 60_000)

    assert early.state is DispatchState.SEARCHING
    prep = (await last_decision(dispatch_scenario, order_id)).prep
    assert (prep.source, prep.orders) == ("learned", 3.0)
    assert 20 < prep.minutes < 30


async def test_excluded_riders_are_listed_with_reasons(dispatch_scenario: DispatchScenario):
    """No rider can be asked: the order's decision says why for each."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider("poor", 0.2, cash_headroom_xaf=10)
    dispatch_scenario.positions.put_rider("busy", 0.4, active=1)
    dispatch_scenario.positions.put_rider("off", 0.5, available=False)
    order_id = await place_ready_order(dispatch_scenario, method="CASH")
    await run_batch(dispatch_scenario)
    await run_batch(dispatch_scenario)

    assert (await dispatch_scenario.dispatch_of(order_id)).state is DispatchState.EXHAUSTED
    decision = await last_decision(dispatch_scenario, order_id)
    assert {c.rider_id: c.excluded for c in decision.candidates} == {
        "poor": "cash limit", "busy": "carries another order", "off": "off duty",
    }  # fmt: skip
    assert (await dispatch_scenario.dispatch_of(order_id)).decisions == 1


async def test_a_long_search_raises_an_alert(dispatch_scenario: DispatchScenario):
    """Three minutes without a rider raise the alert in this mode as well."""
    await dispatch_scenario.set_policy(mode="batch")
    order_id = await place_ready_order(dispatch_scenario)
    await run_batch(dispatch_scenario)
    await dispatch_scenario.process_order(order_id, 170_000)
    before = await dispatch_scenario.alerts.recent()
    await dispatch_scenario.process_order(order_id, 10_000)

    assert before == []
    assert [each.kind for each in await dispatch_scenario.alerts.recent()] == ["no_riders"]


async def test_a_cancelled_order_is_forgotten(dispatch_scenario: DispatchScenario):
    """Its last check releases the rider it had asked, who is then asked for the next order."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider("only", 0.3)
    first = await place_ready_order(dispatch_scenario)
    await run_batch(dispatch_scenario)
    cancel = commands.CancelOrder(order_id=first)
    await dispatch_scenario.order_scenario.order_service.cancel_order(
        dispatch_scenario.order_scenario.caller("ops", "adm_1"), cancel
    )
    await dispatch_scenario.process_order(first)
    second = await place_ready_order(dispatch_scenario)
    await run_batch(dispatch_scenario)

    assert list((await dispatch_scenario.dispatch_of(second)).offers) == ["only"]


async def test_orders_missing_on_the_board_are_decided(
    dispatch_scenario: DispatchScenario, redis: RedisClients
):
    """Redis loses everything: an order that the engine has checked is decided all the same."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider("near", 0.3)
    order_id = await place_ready_order(dispatch_scenario)
    await dispatch_scenario.order_scenario.relay_outbox()
    await redis.commands.flushall()
    await dispatch_scenario.process_order(order_id)
    await dispatch_scenario.engine.batch_loop.run_once()

    assert list((await dispatch_scenario.dispatch_of(order_id)).offers) == ["near"]


async def test_a_reassigned_rider_is_not_charged_with_a_release(
    dispatch_scenario: DispatchScenario,
):
    """An order that was moved does not count as given back; its rider is notified."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider("near", 0.3)
    order_id = await place_ready_order(dispatch_scenario)
    await run_batch(dispatch_scenario)
    await dispatch_scenario.accept_delivery(order_id, "near")
    await dispatch_scenario.order_scenario.order_service.withdraw_delivery(
        order_id, OfferOutcome.MOVED
    )

    assert (await dispatch_scenario.order_scenario.event_names("rider:near"))[
        -1
    ] == "delivery_request_closed"
    item = await dispatch_scenario.order_scenario.table.get(workload_key("near"))
    assert item is not None
    assert "givenBack" not in item
    assert (await dispatch_scenario.order_scenario.riders.workload("near")).orders == ()


async def test_a_shift_end_is_respected(dispatch_scenario: DispatchScenario):
    """A rider who could not be at the pickup before its shift ends is not asked."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider(
        "leaves", 0.2, until_ms=dispatch_scenario.clock.now_ms() + 60_000
    )
    dispatch_scenario.positions.put_rider("stays", 3.0)
    order_id = await place_ready_order(dispatch_scenario)
    await run_batch(dispatch_scenario)

    assert list((await dispatch_scenario.dispatch_of(order_id)).offers) == ["stays"]


async def test_an_operators_wanted_rider_is_asked_outside_the_batch(
    dispatch_scenario: DispatchScenario,
):
    """The rider that the operator names is asked at once and alone, as in every other mode."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider("near", 0.2)
    dispatch_scenario.positions.put_rider("wanted", 1.0)
    order_id = await place_ready_order(dispatch_scenario)
    command = commands.Reassign(order_id=order_id, rider_id="wanted")
    await dispatch_scenario.order_scenario.order_service.reassign(
        dispatch_scenario.order_scenario.caller("ops", "adm_1"), command
    )
    await run_batch(dispatch_scenario)
    after = await dispatch_scenario.process_order(order_id)

    assert list(after.offers) == ["wanted"]


async def test_a_rider_with_room_for_two_gets_two_offers_of_one_vendor(
    dispatch_scenario: DispatchScenario,
):
    """A capacity of two, and both orders are offered in one decision."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider("only", 0.2, capacity=2)
    orders = [
        await place_ready_order(dispatch_scenario),
        await place_ready_order(dispatch_scenario),
    ]
    await run_batch(dispatch_scenario)

    assert [list((await dispatch_scenario.dispatch_of(each)).offers) for each in orders] == [
        ["only"],
        ["only"],
    ]


async def test_an_engine_without_leadership_decides_nothing(dispatch_scenario: DispatchScenario):
    """Its lease has ended: it makes no offer."""
    await dispatch_scenario.set_policy(mode="batch")
    dispatch_scenario.positions.put_rider("near", 0.3)
    order_id = await place_ready_order(dispatch_scenario)
    dispatch_scenario.order_scenario.fence.revoke()
    with pytest.raises(LeadershipLost):
        await run_batch(dispatch_scenario)

    assert (await dispatch_scenario.dispatch_of(order_id)).state is DispatchState.SEARCHING


async def test_a_backlog_turns_batches_on_and_off(dispatch_scenario: DispatchScenario):
    """Three orders for one rider switch to batches; with more riders the tick checks them again."""
    await dispatch_scenario.set_policy(mode="auto")
    dispatch_scenario.positions.put_rider("only", 0.3)
    first = await place_ready_order(dispatch_scenario)
    await run_batch(dispatch_scenario)
    calm = await dispatch_scenario.dispatch_of(first)
    others = [
        await place_ready_order(dispatch_scenario),
        await place_ready_order(dispatch_scenario),
    ]
    await run_batch(dispatch_scenario)
    crowded = [await dispatch_scenario.dispatch_of(each) for each in (first, *others)]
    for number in range(9):
        dispatch_scenario.positions.put_rider(f"more_{number}", 1.0)
    await run_batch(dispatch_scenario)
    due, _ = await dispatch_scenario.order_scenario.timers.claim(
        dispatch_scenario.clock.now_ms(), 16, 1
    )

    assert calm.state is DispatchState.SEARCHING
    assert sum(len(each.offers) for each in crowded) == 1
    assert set(others) <= {*due, first}
