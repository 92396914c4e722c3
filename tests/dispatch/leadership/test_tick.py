"""The engine on real stores and a clock of its own: who is asked when, and what becomes of it."""

import pytest

from dispatch.errors import Deposed, Refused, StoreUnavailable
from dispatch.leadership import tick
from dispatch.model import DispatchState, Outcome
from dispatch.wire import commands
from dispatch.wire.http import requests
from tests.dispatch.dispatch_night import Night
from tests.waiting import Until

pytestmark = pytest.mark.engines


def outcomes(dispatch):
    return {rider: asked.outcome for rider, asked in dispatch.asked.items()}


async def test_the_best_rider_is_asked_first_and_alone(night: Night):
    """The first wave is one rider; nobody else hears of the order while he thinks."""
    night.streets.put("near", 0.3)
    night.streets.put("far", 0.9)
    order_id = await night.order()
    first = await night.look(order_id)
    await night.show(first, "near")
    later = await night.look(order_id, 10_000)

    assert list(first.offers) == list(later.offers) == ["near"]
    assert await night.shop.told("rider:far") == []


async def test_a_wave_is_asked_three_seconds_apart(night: Night):
    """After a first no, three riders are asked one by one, each with a deadline of his own."""
    for rank, rider in enumerate(["a", "b", "c", "d", "e"]):
        night.streets.put(rider, 0.1 + rank / 10)
    order_id = await night.order()
    await night.look(order_id)
    await night.decline(order_id, "a")
    seen = [await night.look(order_id)]
    for _ in range(4):
        await night.show(seen[-1], *seen[-1].offers)
        seen.append(await night.look(order_id, 3_000))

    assert [sorted(each.offers) for each in seen] == [
        ["b"], ["b", "c"], ["b", "c", "d"], ["b", "c", "d"], ["b", "c", "d"],
    ]  # fmt: skip
    deadlines = [seen[-1].offers[rider].deadline_ms for rider in "bcd"]
    assert [later - deadlines[0] for later in deadlines] == [0, 3_000, 6_000]


async def test_whoever_is_not_asked_yet_never_hears_of_an_order_that_is_taken(night: Night):
    """The second of the wave takes it; the third was not asked and is not told anything."""
    for rank, rider in enumerate(["a", "b", "c", "d"]):
        night.streets.put(rider, 0.1 + rank / 10)
    order_id = await night.order()
    await night.look(order_id)
    await night.decline(order_id, "a")
    await night.show(await night.look(order_id), "b")
    await night.look(order_id, 3_000)
    await night.accept(order_id, "c")
    after = await night.look(order_id, 3_000)

    assert (after.state, after.rider_id) == (DispatchState.ASSIGNED, "c")
    assert outcomes(after) == {"a": Outcome.DECLINED, "b": Outcome.TAKEN}
    assert await night.shop.told("rider:d") == []
    assert await night.shop.told("rider:b") == ["delivery_request", "delivery_request_closed"]


async def test_an_offer_that_was_never_shown_goes_on_after_two_seconds(night: Night):
    """Without a receipt the next rider is asked at once, long before the deadline."""
    night.streets.put("dead", 0.2)
    night.streets.put("alive", 0.4)
    order_id = await night.order()
    await night.look(order_id)
    still = await night.look(order_id, 1_999)
    passed = await night.look(order_id, 1)

    assert list(still.offers) == ["dead"]
    assert list(passed.offers) == ["alive"]
    assert outcomes(passed) == {"dead": Outcome.UNREAD}


async def test_a_shown_offer_runs_to_its_deadline_and_not_a_moment_longer(night: Night):
    """Fifteen seconds and three of grace, then the search goes on."""
    night.streets.put("slow", 0.2)
    order_id = await night.order()
    await night.show(await night.look(order_id), "slow")
    still = await night.look(order_id, 18_000)
    ended = await night.look(order_id, 1)

    assert list(still.offers) == ["slow"]
    assert outcomes(ended) == {"slow": Outcome.EXPIRED}
    assert ended.state is DispatchState.EXHAUSTED


async def test_nobody_left_is_said_once_and_looked_at_again(night: Night):
    """The customer hears `no_riders` once; a rider who comes later is asked."""
    order_id = await night.order()
    empty = [await night.look(order_id, pause) for pause in (0, 2_000, 3_000, 5_000)]
    night.streets.put("late", 1.0)
    found = await night.look(order_id, 5_000)

    assert {each.state for each in empty} == {DispatchState.EXHAUSTED}
    assert list(found.offers) == ["late"]
    told = await night.shop.told("user:usr_1")
    assert told == ["order_accepted", *["dispatch_status"] * 3]


async def test_an_engine_that_starts_anew_knows_the_open_offers(night: Night):
    """A restart in the middle of an offer neither ends it nor asks its rider for another order."""
    night.streets.put("only", 0.2)
    first, second = await night.order(), await night.order()
    asked = await night.look(first)
    await night.show(asked, "only")
    night.engine = night.restarted()
    count = await night.engine.rebuild()
    await night.engine.tick()
    await night.engine.tick()

    assert count == 2
    assert (await night.dispatch(first)).offers == asked.offers
    assert (await night.dispatch(second)).offers == {}
    ended = await night.look(first, 18_001)
    assert outcomes(ended) == {"only": Outcome.EXPIRED}


async def test_a_rider_holds_one_offer_at_a_time(night: Night):
    """Two orders at once ask two riders; the freed one may be asked again."""
    night.streets.put("a", 0.2)
    night.streets.put("b", 0.4)
    first, second = await night.order(), await night.order()
    one, two = await night.look(first), await night.look(second)
    await night.decline(first, "a")
    await night.look(first)
    third = await night.order()

    assert (list(one.offers), list(two.offers)) == (["a"], ["b"])
    assert list((await night.look(third)).offers) == ["a"]


async def ignore(night, rider):
    """An order is offered to a rider whose app shows nothing, and called off again."""
    order_id = await night.order()
    offered = list((await night.look(order_id)).offers)
    await night.look(order_id, 2_000)
    cancel = commands.CancelOrder(order_id=order_id)
    await night.shop.flow.cancel_order(night.shop.as_("user", "usr_1"), cancel)
    await night.look(order_id)
    return offered == [rider]


async def test_three_unread_offers_in_a_row_pause_a_rider(night: Night):
    """A phone in a drawer is asked three times, then not for five minutes."""
    night.streets.put("drawer", 0.2)
    asked = [await ignore(night, "drawer") for _ in range(4)]
    night.clock.advance(5 * 60_000)

    assert asked == [True, True, True, False]
    assert await ignore(night, "drawer")


async def test_an_offer_that_was_shown_begins_the_row_anew(night: Night):
    """Two unread, one shown, two unread: nobody is paused."""
    night.streets.put("wakes", 0.2)
    asked = [await ignore(night, "wakes") for _ in range(2)]
    order_id = await night.order()
    await night.show(await night.look(order_id), "wakes")
    await night.look(order_id, 2_000)
    await night.decline(order_id, "wakes")
    await night.look(order_id)
    asked += [await ignore(night, "wakes") for _ in range(2)]

    assert asked == [True] * 4
    assert await night.pauses.current(night.clock.now_ms()) == {}


async def test_a_pause_ends_when_its_rider_shows_that_he_is_there(night: Night):
    """Whoever goes on duty again is asked again at once."""
    night.streets.put("back", 0.2)
    asked = [await ignore(night, "back") for _ in range(3)]
    await night.pauses.lift("back")

    assert [*asked, await ignore(night, "back")] == [True] * 4


async def test_cash_orders_pass_over_riders_who_carry_too_much_cash(night: Night):
    """A rider with room for less than the price is asked for prepaid orders only."""
    night.streets.put("full", 0.1, cash_headroom_xaf=9_499)
    night.streets.put("room", 0.5, cash_headroom_xaf=9_500)
    cash, paid = await night.order(method="CASH"), await night.order()

    assert list((await night.look(cash)).offers) == ["room"]
    assert list((await night.look(paid)).offers) == ["full"]


async def test_a_search_that_takes_three_minutes_calls_an_operator_sparsely(night: Night):
    """One alert after three minutes, the next five minutes later, whatever the looks between."""
    order_id = await night.order()
    for _ in range(100):
        await night.look(order_id, 5_000)
    alerts = await night.alerts.recent()

    assert [(each.kind, each.order_id) for each in alerts] == [("no_riders", order_id)] * 2
    assert alerts[0].message == "no rider found for 3 min, 0 asked so far"
    assert alerts[1].ts - alerts[0].ts >= 300_000


async def taken(night, km=2.0):
    """An order that a rider at that distance has accepted; its id."""
    night.streets.put("paul", km)
    order_id = await night.order(method="CASH")
    await night.look(order_id)
    night.streets.report("paul", km)
    await night.accept(order_id, "paul")
    await night.look(order_id)
    night.streets.riders.clear()
    return order_id


async def ride(night, order_id, *distances_km):
    """Every 15 s the rider reports from the next distance, where he is heard at all."""
    for km in distances_km:
        night.clock.advance(15_000)
        if km is not None:
            night.streets.report("paul", km)
        await night.engine.look(order_id)
    return await night.dispatch(order_id)


async def test_a_rider_who_comes_nearer_is_left_alone(night: Night):
    """Ten minutes of slow traffic are no reason to take the order away."""
    order_id = await taken(night)
    after = await ride(night, order_id, *[2.0 - i * 0.04 for i in range(40)])

    assert (after.state, after.rider_id) == (DispatchState.ASSIGNED, "paul")


async def test_a_rider_who_sends_nothing_for_a_minute_loses_the_order(night: Night):
    """He is told, freed with his cash, left out; customer and operators learn it."""
    order_id = await taken(night)
    still = await ride(night, order_id, 1.9, None, None, None)
    gone = await ride(night, order_id, None)

    assert still.state is DispatchState.ASSIGNED
    assert gone.state is DispatchState.SEARCHING
    assert outcomes(gone) == {"paul": Outcome.VANISHED}
    assert (await night.shop.riders.duty("paul")).orders == ()
    assert (await night.shop.told("rider:paul"))[-1] == "delivery_request_closed"
    assert (await night.shop.told("user:usr_1"))[-1] == "dispatch_status"
    assert [each.kind for each in await night.alerts.recent()] == ["rider_vanished"]
    night.streets.put("paul", 0.1)
    assert (await night.look(order_id)).offers == {}


async def test_a_rider_who_comes_no_nearer_for_four_minutes_loses_the_order(night: Night):
    """Fixes alone are not enough; fifty metres in four minutes are."""
    order_id = await taken(night)
    still = await ride(night, order_id, *[2.0] * 15)
    stalled = await ride(night, order_id, 1.96)

    assert still.state is DispatchState.ASSIGNED
    assert outcomes(stalled) == {"paul": Outcome.STALLED}


async def test_a_rider_who_stands_at_the_shop_does_not_stall(night: Night):
    """Within a hundred metres he waits for the goods."""
    order_id = await taken(night)
    after = await ride(night, order_id, *[0.09] * 40)

    assert after.state is DispatchState.ASSIGNED


async def test_time_in_which_nobody_looked_is_not_the_riders(night: Night):
    """After two minutes without the engine he has his minute to be heard from again."""
    order_id = await taken(night)
    night.clock.advance(120_000)
    await night.engine.look(order_id)
    night.streets.report("paul", 1.5)
    after = await ride(night, order_id, 1.4)

    assert after.state is DispatchState.ASSIGNED


async def test_after_the_pickup_nobody_is_followed(night: Night):
    """The last look finds the order in his hands and lets its timer go."""
    order_id = await taken(night)
    vendor, him = night.shop.as_("vendor", "ven_1"), night.shop.as_("rider", "paul")
    await night.shop.flow.order_ready(vendor, commands.OrderReady(order_id=order_id))
    await night.shop.flow.pick_up(him, commands.PickUp(order_id=order_id))
    after = await ride(night, order_id, *[None] * 10)

    assert (after.state, after.due_at_ms) == (DispatchState.PICKED_UP, None)
    await night.shop.timers.claim(night.clock.now_ms() + 1_000_000, 10, 1)
    await night.engine.look(order_id)
    assert await night.shop.timers.claim(night.clock.now_ms() + 2_000_000, 10, 1) == ([], None)


async def test_every_look_that_decided_is_explained(night: Night):
    """First nobody, then one asked: riders, reasons and points are kept with the order."""
    night.streets.put("off", 0.4, available=False)
    night.streets.put("beyond", 9.0)
    order_id = await night.order()
    await night.look(order_id)
    night.streets.put("anna", 1.2)
    asked = await night.look(order_id, 2_000)
    (_, nobody), (_, one) = await night.decisions.of(order_id)

    assert [(each.rider_id, each.excluded) for each in nobody.candidates] == [
        ("off", "off duty"), ("beyond", "beyond 7 km"),
    ]  # fmt: skip
    assert [(each.rider_id, each.offer_id) for each in one.candidates] == [
        ("anna", asked.offers["anna"].offer_id)
    ]
    assert one.candidates[0].score == sum(one.candidates[0].parts.values())
    assert (one.wave, one.radius_km, asked.decisions) == (1, 1.5, 2)


async def test_looks_that_find_nobody_are_one_decision(night: Night):
    """Half a minute of empty streets is one line that counts its looks."""
    order_id = await night.order()
    for _ in range(12):
        await night.look(order_id, 5_000)
    [(number, nobody)] = await night.decisions.of(order_id)

    assert (number, nobody.looks) == (0, 12)
    assert nobody.until_ms - nobody.at_ms == 55_000


async def test_an_order_keeps_its_first_and_its_last_decisions(night: Night):
    """Twenty at most: how the search began, and how it stands."""
    night.streets.put("far", 1.0)
    order_id = await night.order()
    for _ in range(12):
        await night.show(await night.look(order_id, 30_000), "far")
        await night.look(order_id, 18_001)
    numbers = [number for number, _ in await night.decisions.of(order_id)]

    last = (await night.dispatch(order_id)).decisions
    assert last > 20
    assert numbers == [*range(10), *range(last - 10, last)]


async def test_an_engine_that_begins_while_redis_is_away_waits_for_it(
    night: Night, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """It had crashed on the way to its first look, with a traceback, and gave its zone back."""
    order_id = await night.order()
    arm, failures = night.shop.timers.arm, iter([StoreUnavailable("redis", "away")])

    async def away_at_first(due, **how):
        for failure in failures:
            raise failure
        await arm(due, **how)

    monkeypatch.setattr(night.shop.timers, "arm", away_at_first)
    monkeypatch.setattr(tick, "AWAY_S", 0.0)
    night.streets.put("a", 0.1)

    async def is_offered():
        return (await night.dispatch(order_id)).state is DispatchState.OFFERED

    async with until.running(night.engine.run):
        await until.eventually(is_offered)
    assert next(failures, None) is None
    assert list((await night.dispatch(order_id)).offers) == ["a"]


async def test_a_policy_holds_from_the_next_look_on(night: Night):
    """An operator makes waves come at once; no restart, and other services keep their own."""
    for rank, rider in enumerate(["a", "b", "c", "d"]):
        night.streets.put(rider, 0.1 + rank / 10)
    first = await night.order()
    await night.look(first)
    patch = requests.OfferSettings(wave_sizes=[4], stagger_ms=0)
    await night.policies.put_offers("FOOD", patch, "adm_1")
    await night.decline(first, "a")
    changed = await night.look(first, 1_000)

    assert sorted(changed.offers) == ["b", "c", "d"]
    assert (await night.policies.offers("MART")).wave_sizes == (1, 3, 5)


async def test_nobody_is_asked_whose_hands_are_full(night: Night):
    """He accepted another order a moment ago, and the index of free riders still has him."""
    first = await taken(night)
    second = await night.order()
    night.streets.put("paul", 0.5)
    night.engine = night.restarted()
    with pytest.raises(Refused, match="carries another order"):
        await night.look(second)
    night.streets.put("marie", 1.0)
    dispatch = await night.look(second)

    assert (await night.dispatch(first)).rider_id == "paul"
    assert list(dispatch.offers) == ["marie"]


async def test_an_engine_that_saw_him_accept_spares_him_at_once(night: Night):
    """The index learns with the next flush that his hands are full; nobody tries meanwhile."""
    await taken(night)
    night.streets.put("paul", 0.5)
    second = await night.order()
    dispatch = await night.look(second)
    [(_, decision)] = await night.decisions.of(second)

    assert dispatch.state is DispatchState.EXHAUSTED
    assert [each.excluded for each in decision.candidates] == ["carries another order"]


async def test_an_engine_writes_nothing_once_its_lease_is_over(night: Night):
    """It was stopped between its look and its write: the order stays as it was."""
    night.streets.put("paul", 0.5)
    order_id = await night.order()
    before = await night.shop.orders.get(order_id)
    near = night.streets.near

    async def stopped(*asked):
        found = await near(*asked)
        night.shop.fence.close()
        return found

    night.streets.near = stopped
    with pytest.raises(Deposed):
        await night.look(order_id)

    assert await night.shop.orders.get(order_id) == before
    assert await night.shop.told("rider:paul") == []
