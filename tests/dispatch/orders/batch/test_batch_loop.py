"""All orders decided together on real stores: who is asked, when modes change, and why."""

import pytest

from dispatch.errors import Deposed
from dispatch.model import DispatchState, OfferPolicy, Outcome
from dispatch.orders.batch.mode import Backlog, Modes
from dispatch.riders.store import duty_key
from dispatch.storage.redis_client import RedisClients
from dispatch.wire import commands
from tests.dispatch.dispatch_night import Night

pytestmark = pytest.mark.engines


async def decide(night, after_ms=0):
    """Let time pass and decide once, as the engine does."""
    night.clock.advance(after_ms)
    await night.shop.relay()
    return await night.engine.batches.turn()


async def ready(night, **kind):
    """An order whose goods are ready at once, so that nobody may wait any longer."""
    order_id = await night.order(**kind)
    command = commands.OrderReady(order_id=order_id)
    await night.shop.flow.order_ready(night.shop.as_("vendor", "ven_1"), command)
    return order_id


async def explained(night, order_id):
    """The last decision about an order."""
    return (await night.decisions.of(order_id))[-1][1]


async def test_orders_are_dealt_out_together(night: Night):
    """Two orders and two riders: each has one, in one decision, and is told why him."""
    await night.set(mode="batch")
    night.streets.put("near", 0.3)
    night.streets.put("far", 2.0)
    orders = [await ready(night), await ready(night)]
    assert await decide(night) == 5.0

    found = [await night.dispatch(each) for each in orders]
    assert sorted(rider for each in found for rider in each.offers) == ["far", "near"]
    decisions = [await explained(night, each) for each in orders]
    assert decisions[0].batch == decisions[1].batch is not None
    for order_id, decision in zip(orders, decisions, strict=True):
        [offer] = (await night.dispatch(order_id)).offers.values()
        chosen, other = decision.candidates[:2]
        assert chosen.offer_id == offer.offer_id
        assert chosen.cost == pytest.approx(sum(chosen.parts.values()), abs=0.01)
        assert set(chosen.parts) == {"delay", "rider", "later", "decline", "end"}
        assert other.offer_id is None
        assert decision.prep.source == "house"


async def test_an_offer_of_a_batch_is_an_offer(night: Night):
    """It is accepted as any other, and the engine then follows its rider."""
    await night.set(mode="batch")
    night.streets.put("near", 0.3)
    order_id = await ready(night)
    await decide(night)
    await night.accept(order_id, "near")
    after = await night.look(order_id)

    assert (after.state, after.rider_id) == (DispatchState.ASSIGNED, "near")
    assert await night.shop.told("rider:near") == ["delivery_request", "order_ready_for_pickup"]


async def test_a_no_is_remembered_and_the_next_is_asked(night: Night):
    """Whoever declined is not asked again, though he is the nearest; why stands with the order."""
    await night.set(mode="batch")
    night.streets.put("near", 0.3)
    night.streets.put("far", 2.0)
    order_id = await ready(night)
    await decide(night)
    await night.decline(order_id, "near")
    await night.look(order_id)
    await decide(night)

    assert list((await night.dispatch(order_id)).offers) == ["far"]
    near = next(c for c in (await explained(night, order_id)).candidates if c.rider_id == "near")
    assert near.excluded == "asked before: declined"


async def test_an_offer_that_was_never_shown_goes_on(night: Night):
    """Receipts count in a batch as well: after two seconds the order is open again."""
    await night.set(mode="batch")
    night.streets.put("dead", 0.2)
    night.streets.put("alive", 0.9)
    order_id = await ready(night)
    await decide(night)
    lapsed = await night.look(order_id, 2_000)
    await decide(night)

    assert lapsed.asked["dead"].outcome is Outcome.UNREAD
    assert list((await night.dispatch(order_id)).offers) == ["alive"]


async def test_nobody_is_sent_before_it_is_time(night: Night):
    """Half an hour before the goods are ready nobody is asked; when it is time he is."""
    await night.set(mode="batch")
    night.streets.put("near", 0.3)
    order_id = await night.shop.place()
    command = commands.AcceptOrder(order_id=order_id, prep_minutes=30)
    await night.shop.flow.accept_order(night.shop.as_("vendor", "ven_1"), command)
    await decide(night)
    early = await night.dispatch(order_id)
    await decide(night, 27 * 60_000)
    late = await night.dispatch(order_id)

    assert early.state is DispatchState.SEARCHING
    assert list(late.offers) == ["near"]
    assert (await explained(night, order_id)).prep.source == "vendor"


async def test_a_vendor_who_says_nothing_is_known_by_his_past(night: Night):
    """Three orders took him half an hour each; the fourth rider is sent later than the first."""
    await night.set(mode="batch")
    for _ in range(3):
        order_id = await night.order()
        night.clock.advance(30 * 60_000)
        command = commands.OrderReady(order_id=order_id)
        await night.shop.flow.order_ready(night.shop.as_("vendor", "ven_1"), command)
        cancel = commands.CancelOrder(order_id=order_id)
        await night.shop.flow.cancel_order(night.shop.as_("ops", "adm_1"), cancel)
    await night.shop.tallies.flush()
    night.streets.put("near", 0.3)
    order_id = await night.order()
    await decide(night, 15 * 60_000)
    early = await night.dispatch(order_id)
    await decide(night, 10 * 60_000)

    assert early.state is DispatchState.SEARCHING
    prep = (await explained(night, order_id)).prep
    assert (prep.source, prep.orders) == ("learned", 3.0)
    assert 20 < prep.minutes < 30


async def test_riders_who_may_not_are_named(night: Night):
    """Nobody is left: the order says so once, and why each of them could not."""
    await night.set(mode="batch")
    night.streets.put("poor", 0.2, cash_headroom_xaf=10)
    night.streets.put("busy", 0.4, active=1)
    night.streets.put("off", 0.5, available=False)
    order_id = await ready(night, method="CASH")
    await decide(night)
    await decide(night)

    assert (await night.dispatch(order_id)).state is DispatchState.EXHAUSTED
    decision = await explained(night, order_id)
    assert {c.rider_id: c.excluded for c in decision.candidates} == {
        "poor": "cash limit", "busy": "carries another order", "off": "off duty",
    }  # fmt: skip
    assert (await night.dispatch(order_id)).decisions == 1


async def test_an_operator_hears_of_an_order_that_has_no_place(night: Night):
    """Nobody for three minutes is an alert here as well."""
    await night.set(mode="batch")
    order_id = await ready(night)
    await decide(night)
    await night.look(order_id, 170_000)
    before = await night.alerts.recent()
    await night.look(order_id, 10_000)

    assert before == []
    assert [each.kind for each in await night.alerts.recent()] == ["no_riders"]


async def test_an_order_that_is_called_off_is_forgotten(night: Night):
    """Its last look takes it out of the picture, and its rider is free for the next."""
    await night.set(mode="batch")
    night.streets.put("only", 0.3)
    first = await ready(night)
    await decide(night)
    cancel = commands.CancelOrder(order_id=first)
    await night.shop.flow.cancel_order(night.shop.as_("ops", "adm_1"), cancel)
    await night.look(first)
    second = await ready(night)
    await decide(night)

    assert list((await night.dispatch(second)).offers) == ["only"]


async def test_an_emptied_board_hides_no_order(night: Night, redis: RedisClients):
    """Redis forgets everything: what the engine has looked at is decided all the same."""
    await night.set(mode="batch")
    night.streets.put("near", 0.3)
    order_id = await ready(night)
    await night.shop.relay()
    await redis.commands.flushall()
    await night.look(order_id)
    await night.engine.batches.turn()

    assert list((await night.dispatch(order_id)).offers) == ["near"]


async def test_who_was_called_back_keeps_his_record(night: Night):
    """An order that was moved to another counts not as given back; he is told that it is gone."""
    await night.set(mode="batch")
    night.streets.put("near", 0.3)
    order_id = await ready(night)
    await decide(night)
    await night.accept(order_id, "near")
    await night.shop.flow.withdraw_delivery(order_id, Outcome.MOVED)

    assert (await night.shop.told("rider:near"))[-1] == "delivery_request_closed"
    item = await night.shop.table.get(duty_key("near"))
    assert "givenBack" not in item
    assert (await night.shop.riders.duty("near")).orders == ()


async def test_a_shift_that_ends_is_kept(night: Night):
    """Whoever could not be at the shop before his shift ends is not asked."""
    await night.set(mode="batch")
    night.streets.put("leaves", 0.2, until_ms=night.clock.now_ms() + 60_000)
    night.streets.put("stays", 3.0)
    order_id = await ready(night)
    await decide(night)

    assert list((await night.dispatch(order_id)).offers) == ["stays"]


async def test_an_operators_wish_is_no_matter_for_a_batch(night: Night):
    """The rider he names is asked at once, alone, as in every other zone."""
    await night.set(mode="batch")
    night.streets.put("near", 0.2)
    night.streets.put("wanted", 1.0)
    order_id = await ready(night)
    wish = commands.Reassign(order_id=order_id, rider_id="wanted")
    await night.shop.flow.reassign(night.shop.as_("ops", "adm_1"), wish)
    await decide(night)
    looked = await night.look(order_id)

    assert list(looked.offers) == ["wanted"]


async def test_a_rider_may_hold_two_offers_of_one_shop(night: Night):
    """Where he may carry two orders, both are offered to him in the same moment."""
    await night.set(mode="batch")
    night.streets.put("only", 0.2, capacity=2)
    orders = [await ready(night), await ready(night)]
    await decide(night)

    assert [list((await night.dispatch(each)).offers) for each in orders] == [["only"], ["only"]]


async def test_a_deposed_engine_decides_nothing(night: Night):
    """Its lease is over: no order is offered by it any more."""
    await night.set(mode="batch")
    night.streets.put("near", 0.3)
    order_id = await ready(night)
    night.shop.fence.close()
    with pytest.raises(Deposed):
        await decide(night)

    assert (await night.dispatch(order_id)).state is DispatchState.SEARCHING


async def test_a_backlog_turns_batches_on_and_off(night: Night):
    """Three orders for one rider are decided together; when riders come, it is over."""
    await night.set(mode="auto")
    night.streets.put("only", 0.3)
    first = await ready(night)
    await decide(night)
    calm = await night.dispatch(first)
    others = [await ready(night), await ready(night)]
    await decide(night)
    crowded = [await night.dispatch(each) for each in (first, *others)]
    for number in range(9):
        night.streets.put(f"more_{number}", 1.0)
    await decide(night)
    due, _ = await night.shop.timers.claim(night.clock.now_ms(), 16, 1)

    assert calm.state is DispatchState.SEARCHING
    assert sum(len(each.offers) for each in crowded) == 1
    assert set(others) <= {*due, first}


def test_a_mode_does_not_flicker():
    """Between the bounds everything stays as it is."""
    modes = Modes()
    modes.hear("FOOD", OfferPolicy(mode="auto"))
    seen = []
    for orders in (9, 11, 9, 6, 4, 6, 9):
        modes.weigh(Backlog(orders, 10))
        seen.append(modes.is_batch("FOOD"))
    assert seen == [False, True, True, True, False, False, False]
