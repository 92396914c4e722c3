"""The engine on real stores and a clock of its own: who is asked when, and what becomes of it."""

import pytest

from dispatch.errors import LeadershipLost, Refused, StoreUnavailable
from dispatch.ids import RiderId
from dispatch.leadership import tick
from dispatch.model import DispatchState, OfferOutcome
from dispatch.wire import commands
from dispatch.wire.http.offer_policy import OfferSettings
from tests.dispatch.dispatch_scenario import DispatchScenario
from tests.waiting import Until

pytestmark = pytest.mark.engines


def outcomes_by_rider(dispatch):
    return {rider: asked.outcome for rider, asked in dispatch.asked.items()}


async def test_the_best_rider_is_asked_first_and_alone(dispatch_scenario: DispatchScenario):
    """The first wave is one rider; nobody else hears of the order while he thinks."""
    dispatch_scenario.positions.put_rider("near", 0.3)
    dispatch_scenario.positions.put_rider("far", 0.9)
    order_id = await dispatch_scenario.place_accepted_order()
    first = await dispatch_scenario.process_order(order_id)
    await dispatch_scenario.show_offers(first, "near")
    later = await dispatch_scenario.process_order(order_id, 10_000)

    assert list(first.offers) == list(later.offers) == ["near"]
    assert await dispatch_scenario.order_scenario.event_names("rider:far") == []


async def test_a_wave_is_asked_three_seconds_apart(dispatch_scenario: DispatchScenario):
    """After a first no, three riders are asked one by one, each with a deadline of his own."""
    for rank, rider in enumerate(["a", "b", "c", "d", "e"]):
        dispatch_scenario.positions.put_rider(rider, 0.1 + rank / 10)
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.process_order(order_id)
    await dispatch_scenario.decline_delivery(order_id, "a")
    seen = [await dispatch_scenario.process_order(order_id)]
    for _ in range(4):
        await dispatch_scenario.show_offers(seen[-1], *seen[-1].offers)
        seen.append(await dispatch_scenario.process_order(order_id, 3_000))

    assert [sorted(each.offers) for each in seen] == [
        ["b"], ["b", "c"], ["b", "c", "d"], ["b", "c", "d"], ["b", "c", "d"],
    ]  # fmt: skip
    deadlines = [seen[-1].offers[RiderId(rider)].deadline_ms for rider in "bcd"]
    assert [later - deadlines[0] for later in deadlines] == [0, 3_000, 6_000]


async def test_a_rider_not_asked_yet_gets_no_event_of_a_taken_order(
    dispatch_scenario: DispatchScenario,
):
    """The second of the wave takes it; the third was not asked and is not told anything."""
    for rank, rider in enumerate(["a", "b", "c", "d"]):
        dispatch_scenario.positions.put_rider(rider, 0.1 + rank / 10)
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.process_order(order_id)
    await dispatch_scenario.decline_delivery(order_id, "a")
    await dispatch_scenario.show_offers(await dispatch_scenario.process_order(order_id), "b")
    await dispatch_scenario.process_order(order_id, 3_000)
    await dispatch_scenario.accept_delivery(order_id, "c")
    after = await dispatch_scenario.process_order(order_id, 3_000)

    assert (after.state, after.rider_id) == (DispatchState.ASSIGNED, "c")
    assert outcomes_by_rider(after) == {"a": OfferOutcome.DECLINED, "b": OfferOutcome.TAKEN}
    assert await dispatch_scenario.order_scenario.event_names("rider:d") == []
    assert await dispatch_scenario.order_scenario.event_names("rider:b") == [
        "delivery_request",
        "delivery_request_closed",
    ]


async def test_an_offer_that_was_never_shown_goes_on_after_two_seconds(
    dispatch_scenario: DispatchScenario,
):
    """Without a receipt the next rider is asked at once, long before the deadline."""
    dispatch_scenario.positions.put_rider("dead", 0.2)
    dispatch_scenario.positions.put_rider("alive", 0.4)
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.process_order(order_id)
    still = await dispatch_scenario.process_order(order_id, 1_999)
    passed = await dispatch_scenario.process_order(order_id, 1)

    assert list(still.offers) == ["dead"]
    assert list(passed.offers) == ["alive"]
    assert outcomes_by_rider(passed) == {"dead": OfferOutcome.UNREAD}


async def test_a_shown_offer_runs_to_its_deadline_and_not_a_moment_longer(
    dispatch_scenario: DispatchScenario,
):
    """Fifteen seconds and three of grace, then the search goes on."""
    dispatch_scenario.positions.put_rider("slow", 0.2)
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.show_offers(await dispatch_scenario.process_order(order_id), "slow")
    still = await dispatch_scenario.process_order(order_id, 18_000)
    ended = await dispatch_scenario.process_order(order_id, 1)

    assert list(still.offers) == ["slow"]
    assert outcomes_by_rider(ended) == {"slow": OfferOutcome.EXPIRED}
    assert ended.state is DispatchState.EXHAUSTED


async def test_no_riders_is_sent_once_and_the_search_goes_on(dispatch_scenario: DispatchScenario):
    """The customer hears `no_riders` once; a rider who comes later is asked."""
    order_id = await dispatch_scenario.place_accepted_order()
    empty = [
        await dispatch_scenario.process_order(order_id, pause) for pause in (0, 2_000, 3_000, 5_000)
    ]
    dispatch_scenario.positions.put_rider("late", 1.0)
    found = await dispatch_scenario.process_order(order_id, 5_000)

    assert {each.state for each in empty} == {DispatchState.EXHAUSTED}
    assert list(found.offers) == ["late"]
    told = await dispatch_scenario.order_scenario.event_names("user:usr_1")
    assert told == ["order_accepted", *["dispatch_status"] * 3]


async def test_an_engine_that_starts_anew_knows_the_open_offers(
    dispatch_scenario: DispatchScenario,
):
    """A restart in the middle of an offer neither ends it nor asks its rider for another order."""
    dispatch_scenario.positions.put_rider("only", 0.2)
    first, second = (
        await dispatch_scenario.place_accepted_order(),
        await dispatch_scenario.place_accepted_order(),
    )
    asked = await dispatch_scenario.process_order(first)
    await dispatch_scenario.show_offers(asked, "only")
    dispatch_scenario.engine = dispatch_scenario.new_engine()
    count = await dispatch_scenario.engine.rebuild_timers()
    await dispatch_scenario.engine.tick()
    await dispatch_scenario.engine.tick()

    assert count == 2
    assert (await dispatch_scenario.dispatch_of(first)).offers == asked.offers
    assert (await dispatch_scenario.dispatch_of(second)).offers == {}
    ended = await dispatch_scenario.process_order(first, 18_001)
    assert outcomes_by_rider(ended) == {"only": OfferOutcome.EXPIRED}


async def test_a_rider_holds_one_offer_at_a_time(dispatch_scenario: DispatchScenario):
    """Two orders at once ask two riders; the freed one may be asked again."""
    dispatch_scenario.positions.put_rider("a", 0.2)
    dispatch_scenario.positions.put_rider("b", 0.4)
    first, second = (
        await dispatch_scenario.place_accepted_order(),
        await dispatch_scenario.place_accepted_order(),
    )
    one, two = (
        await dispatch_scenario.process_order(first),
        await dispatch_scenario.process_order(second),
    )
    await dispatch_scenario.decline_delivery(first, "a")
    await dispatch_scenario.process_order(first)
    third = await dispatch_scenario.place_accepted_order()

    assert (list(one.offers), list(two.offers)) == (["a"], ["b"])
    assert list((await dispatch_scenario.process_order(third)).offers) == ["a"]


async def offer_unread(night, rider):
    """An order is offered to a rider whose app shows nothing, and called off again."""
    order_id = await night.place_accepted_order()
    offered = list((await night.process_order(order_id)).offers)
    await night.process_order(order_id, 2_000)
    cancel = commands.CancelOrder(order_id=order_id)
    await night.order_scenario.order_service.cancel_order(
        night.order_scenario.caller("user", "usr_1"), cancel
    )
    await night.process_order(order_id)
    return offered == [rider]


async def test_three_unread_offers_in_a_row_pause_a_rider(dispatch_scenario: DispatchScenario):
    """A phone in a drawer is asked three times, then not for five minutes."""
    dispatch_scenario.positions.put_rider("drawer", 0.2)
    asked = [await offer_unread(dispatch_scenario, "drawer") for _ in range(4)]
    dispatch_scenario.clock.advance(5 * 60_000)

    assert asked == [True, True, True, False]
    assert await offer_unread(dispatch_scenario, "drawer")


async def test_an_offer_that_was_shown_begins_the_row_anew(dispatch_scenario: DispatchScenario):
    """Two unread, one shown, two unread: nobody is paused."""
    dispatch_scenario.positions.put_rider("wakes", 0.2)
    asked = [await offer_unread(dispatch_scenario, "wakes") for _ in range(2)]
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.show_offers(await dispatch_scenario.process_order(order_id), "wakes")
    await dispatch_scenario.process_order(order_id, 2_000)
    await dispatch_scenario.decline_delivery(order_id, "wakes")
    await dispatch_scenario.process_order(order_id)
    asked += [await offer_unread(dispatch_scenario, "wakes") for _ in range(2)]

    assert asked == [True] * 4
    assert await dispatch_scenario.pauses.current(dispatch_scenario.clock.now_ms()) == {}


async def test_a_pause_ends_when_its_rider_shows_that_he_is_there(
    dispatch_scenario: DispatchScenario,
):
    """Whoever goes on duty again is asked again at once."""
    dispatch_scenario.positions.put_rider("back", 0.2)
    asked = [await offer_unread(dispatch_scenario, "back") for _ in range(3)]
    await dispatch_scenario.pauses.lift(RiderId("back"))

    assert [*asked, await offer_unread(dispatch_scenario, "back")] == [True] * 4


async def test_cash_orders_pass_over_riders_who_carry_too_much_cash(
    dispatch_scenario: DispatchScenario,
):
    """A rider with room for less than the price is asked for prepaid orders only."""
    dispatch_scenario.positions.put_rider("full", 0.1, cash_headroom_xaf=9_499)
    dispatch_scenario.positions.put_rider("room", 0.5, cash_headroom_xaf=9_500)
    cash, paid = (
        await dispatch_scenario.place_accepted_order(method="CASH"),
        await dispatch_scenario.place_accepted_order(),
    )

    assert list((await dispatch_scenario.process_order(cash)).offers) == ["room"]
    assert list((await dispatch_scenario.process_order(paid)).offers) == ["full"]


async def test_a_search_that_takes_three_minutes_calls_an_operator_sparsely(
    dispatch_scenario: DispatchScenario,
):
    """One alert after three minutes, the next five minutes later, whatever the looks between."""
    order_id = await dispatch_scenario.place_accepted_order()
    for _ in range(100):
        await dispatch_scenario.process_order(order_id, 5_000)
    alerts = await dispatch_scenario.alerts.recent()

    assert [(each.kind, each.order_id) for each in alerts] == [("no_riders", order_id)] * 2
    assert alerts[0].message == "no rider found for 3 min, 0 asked so far"
    assert alerts[1].ts - alerts[0].ts >= 300_000


async def accepted_order(night, km=2.0):
    """An order that a rider at that distance has accepted; its id."""
    night.positions.put_rider("paul", km)
    order_id = await night.place_accepted_order(method="CASH")
    await night.process_order(order_id)
    night.positions.report_position("paul", km)
    await night.accept_delivery(order_id, "paul")
    await night.process_order(order_id)
    night.positions.riders.clear()
    return order_id


async def ride(night, order_id, *distances_km):
    """Every 15 s the rider reports from the next distance, where he is heard at all."""
    for km in distances_km:
        night.clock.advance(15_000)
        if km is not None:
            night.positions.report_position("paul", km)
        await night.engine.process_order(order_id)
    return await night.dispatch_of(order_id)


async def test_a_rider_who_comes_nearer_is_left_alone(dispatch_scenario: DispatchScenario):
    """Ten minutes of slow traffic are no reason to take the order away."""
    order_id = await accepted_order(dispatch_scenario)
    after = await ride(dispatch_scenario, order_id, *[2.0 - i * 0.04 for i in range(40)])

    assert (after.state, after.rider_id) == (DispatchState.ASSIGNED, "paul")


async def test_a_rider_who_sends_nothing_for_a_minute_loses_the_order(
    dispatch_scenario: DispatchScenario,
):
    """He is told, freed with his cash, left out; customer and operators learn it."""
    order_id = await accepted_order(dispatch_scenario)
    still = await ride(dispatch_scenario, order_id, 1.9, None, None, None)
    gone = await ride(dispatch_scenario, order_id, None)

    assert still.state is DispatchState.ASSIGNED
    assert gone.state is DispatchState.SEARCHING
    assert outcomes_by_rider(gone) == {"paul": OfferOutcome.VANISHED}
    assert (await dispatch_scenario.order_scenario.riders.workload("paul")).orders == ()
    assert (await dispatch_scenario.order_scenario.event_names("rider:paul"))[
        -1
    ] == "delivery_request_closed"
    assert (await dispatch_scenario.order_scenario.event_names("user:usr_1"))[
        -1
    ] == "dispatch_status"
    assert [each.kind for each in await dispatch_scenario.alerts.recent()] == ["rider_vanished"]
    dispatch_scenario.positions.put_rider("paul", 0.1)
    assert (await dispatch_scenario.process_order(order_id)).offers == {}


async def test_a_rider_who_comes_no_nearer_for_four_minutes_loses_the_order(
    dispatch_scenario: DispatchScenario,
):
    """Fixes alone are not enough; fifty metres in four minutes are."""
    order_id = await accepted_order(dispatch_scenario)
    still = await ride(dispatch_scenario, order_id, *[2.0] * 15)
    stalled = await ride(dispatch_scenario, order_id, 1.96)

    assert still.state is DispatchState.ASSIGNED
    assert outcomes_by_rider(stalled) == {"paul": OfferOutcome.STALLED}


async def test_a_rider_who_stands_at_the_shop_does_not_stall(dispatch_scenario: DispatchScenario):
    """Within a hundred metres he waits for the goods."""
    order_id = await accepted_order(dispatch_scenario)
    after = await ride(dispatch_scenario, order_id, *[0.09] * 40)

    assert after.state is DispatchState.ASSIGNED


async def test_time_in_which_nobody_looked_is_not_the_riders(dispatch_scenario: DispatchScenario):
    """After two minutes without the engine he has his minute to be heard from again."""
    order_id = await accepted_order(dispatch_scenario)
    dispatch_scenario.clock.advance(120_000)
    await dispatch_scenario.engine.process_order(order_id)
    dispatch_scenario.positions.report_position("paul", 1.5)
    after = await ride(dispatch_scenario, order_id, 1.4)

    assert after.state is DispatchState.ASSIGNED


async def test_after_the_pickup_the_monitor_stops(dispatch_scenario: DispatchScenario):
    """The last look finds the order in his hands and lets its timer go."""
    order_id = await accepted_order(dispatch_scenario)
    vendor, him = (
        dispatch_scenario.order_scenario.caller("vendor", "ven_1"),
        dispatch_scenario.order_scenario.caller("rider", "paul"),
    )
    await dispatch_scenario.order_scenario.order_service.order_ready(
        vendor, commands.OrderReady(order_id=order_id)
    )
    await dispatch_scenario.order_scenario.order_service.pick_up(
        him, commands.PickUp(order_id=order_id)
    )
    after = await ride(dispatch_scenario, order_id, *[None] * 10)

    assert (after.state, after.due_at_ms) == (DispatchState.PICKED_UP, None)
    await dispatch_scenario.order_scenario.timers.claim(
        dispatch_scenario.clock.now_ms() + 1_000_000, 10, 1
    )
    await dispatch_scenario.engine.process_order(order_id)
    assert await dispatch_scenario.order_scenario.timers.claim(
        dispatch_scenario.clock.now_ms() + 2_000_000, 10, 1
    ) == ([], None)


async def test_every_tick_with_a_decision_is_recorded(dispatch_scenario: DispatchScenario):
    """First nobody, then one asked: riders, reasons and points are kept with the order."""
    dispatch_scenario.positions.put_rider("off", 0.4, available=False)
    dispatch_scenario.positions.put_rider("beyond", 9.0)
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.process_order(order_id)
    dispatch_scenario.positions.put_rider("anna", 1.2)
    asked = await dispatch_scenario.process_order(order_id, 2_000)
    (_, nobody), (_, one) = await dispatch_scenario.decisions.list_for(order_id)

    assert [(each.rider_id, each.excluded) for each in nobody.candidates] == [
        ("off", "off duty"), ("beyond", "beyond 7 km"),
    ]  # fmt: skip
    assert [(each.rider_id, each.offer_id) for each in one.candidates] == [
        ("anna", asked.offers[RiderId("anna")].offer_id)
    ]
    assert one.candidates[0].score == sum(one.candidates[0].parts.values())
    assert (one.wave, one.radius_km, asked.decisions) == (1, 1.5, 2)


async def test_ticks_that_find_no_rider_are_one_decision(dispatch_scenario: DispatchScenario):
    """Half a minute of empty streets is one line that counts its looks."""
    order_id = await dispatch_scenario.place_accepted_order()
    for _ in range(12):
        await dispatch_scenario.process_order(order_id, 5_000)
    [(number, nobody)] = await dispatch_scenario.decisions.list_for(order_id)

    assert (number, nobody.looks) == (0, 12)
    assert nobody.until_ms - nobody.at_ms == 55_000


async def test_an_order_keeps_its_first_and_its_last_decisions(dispatch_scenario: DispatchScenario):
    """Twenty at most: how the search began, and how it stands."""
    dispatch_scenario.positions.put_rider("far", 1.0)
    order_id = await dispatch_scenario.place_accepted_order()
    for _ in range(12):
        await dispatch_scenario.show_offers(
            await dispatch_scenario.process_order(order_id, 30_000), "far"
        )
        await dispatch_scenario.process_order(order_id, 18_001)
    numbers = [number for number, _ in await dispatch_scenario.decisions.list_for(order_id)]

    last = (await dispatch_scenario.dispatch_of(order_id)).decisions
    assert last > 20
    assert numbers == [*range(10), *range(last - 10, last)]


async def test_an_engine_that_begins_while_redis_is_away_waits_for_it(
    dispatch_scenario: DispatchScenario, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """It had crashed on the way to its first look, with a traceback, and gave its zone back."""
    order_id = await dispatch_scenario.place_accepted_order()
    arm, failures = (
        dispatch_scenario.order_scenario.timers.arm,
        iter([StoreUnavailable("redis", "away")]),
    )

    async def away_at_first(due, **how):
        for failure in failures:
            raise failure
        await arm(due, **how)

    monkeypatch.setattr(dispatch_scenario.order_scenario.timers, "arm", away_at_first)
    monkeypatch.setattr(tick, "RETRY_S", 0.0)
    dispatch_scenario.positions.put_rider("a", 0.1)

    async def is_offered():
        return (await dispatch_scenario.dispatch_of(order_id)).state is DispatchState.OFFERED

    async with until.running(dispatch_scenario.engine.run):
        await until.eventually(is_offered)
    assert next(failures, None) is None
    assert list((await dispatch_scenario.dispatch_of(order_id)).offers) == ["a"]


async def test_a_policy_holds_from_the_next_look_on(dispatch_scenario: DispatchScenario):
    """An operator makes waves come at once; no restart, and other services keep their own."""
    for rank, rider in enumerate(["a", "b", "c", "d"]):
        dispatch_scenario.positions.put_rider(rider, 0.1 + rank / 10)
    first = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.process_order(first)
    patch = OfferSettings(wave_sizes=[4], stagger_ms=0)
    await dispatch_scenario.policies.put_offers("FOOD", patch, "adm_1")
    await dispatch_scenario.decline_delivery(first, "a")
    changed = await dispatch_scenario.process_order(first, 1_000)

    assert sorted(changed.offers) == ["b", "c", "d"]
    assert (await dispatch_scenario.policies.get("MART")).wave_sizes == (1, 3, 5)


async def test_a_rider_at_capacity_is_not_asked(dispatch_scenario: DispatchScenario):
    """He accepted another order a moment ago, and the index of free riders still has him."""
    first = await accepted_order(dispatch_scenario)
    second = await dispatch_scenario.place_accepted_order()
    dispatch_scenario.positions.put_rider("paul", 0.5)
    dispatch_scenario.engine = dispatch_scenario.new_engine()
    with pytest.raises(Refused, match="carries another order"):
        await dispatch_scenario.process_order(second)
    dispatch_scenario.positions.put_rider("marie", 1.0)
    dispatch = await dispatch_scenario.process_order(second)

    assert (await dispatch_scenario.dispatch_of(first)).rider_id == "paul"
    assert list(dispatch.offers) == ["marie"]


async def test_an_accepting_rider_is_excluded_before_the_next_flush(
    dispatch_scenario: DispatchScenario,
):
    """The index learns with the next flush that his hands are full; nobody tries meanwhile."""
    await accepted_order(dispatch_scenario)
    dispatch_scenario.positions.put_rider("paul", 0.5)
    second = await dispatch_scenario.place_accepted_order()
    dispatch = await dispatch_scenario.process_order(second)
    [(_, decision)] = await dispatch_scenario.decisions.list_for(second)

    assert dispatch.state is DispatchState.EXHAUSTED
    assert [each.excluded for each in decision.candidates] == ["carries another order"]


async def test_an_engine_writes_nothing_once_its_lease_is_over(dispatch_scenario: DispatchScenario):
    """It was stopped between its look and its write: the order stays as it was."""
    dispatch_scenario.positions.put_rider("paul", 0.5)
    order_id = await dispatch_scenario.place_accepted_order()
    before = await dispatch_scenario.order_scenario.orders.get(order_id)
    near = dispatch_scenario.positions.find_nearest_free

    async def stopped(*asked):
        found = await near(*asked)
        dispatch_scenario.order_scenario.fence.revoke()
        return found

    dispatch_scenario.positions.find_nearest_free = stopped
    with pytest.raises(LeadershipLost):
        await dispatch_scenario.process_order(order_id)

    assert await dispatch_scenario.order_scenario.orders.get(order_id) == before
    assert await dispatch_scenario.order_scenario.event_names("rider:paul") == []
