"""The tick on real stores and a manual clock: offers, search, pickup monitor, and their records."""

import pytest

from dispatch.errors import LeadershipLost, Refused, StoreUnavailable
from dispatch.ids import RiderId
from dispatch.model import DispatchState, OfferOutcome
from dispatch.wire import commands
from dispatch.wire.http.offer_policy import OfferSettings
from tests.dispatch.dispatch_scenario import DispatchScenario
from tests.waiting import Until

pytestmark = pytest.mark.engines


def outcomes_by_rider(dispatch):
    return {rider: asked.outcome for rider, asked in dispatch.asked.items()}


async def test_the_first_wave_is_the_best_rider_alone(dispatch_scenario: DispatchScenario):
    """While the first offer is open, no other rider gets an event of the order."""
    dispatch_scenario.positions.put_rider("near", 0.3)
    dispatch_scenario.positions.put_rider("far", 0.9)
    order_id = await dispatch_scenario.place_accepted_order()
    first = await dispatch_scenario.process_order(order_id)
    await dispatch_scenario.show_offers(first, "near")
    later = await dispatch_scenario.process_order(order_id, 10_000)

    assert list(first.offers) == list(later.offers) == ["near"]
    assert await dispatch_scenario.order_scenario.event_names("rider:far") == []


async def test_a_wave_is_asked_three_seconds_apart(dispatch_scenario: DispatchScenario):
    """After a declined first offer three riders are asked 3 s apart, each with its own deadline."""
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
    """The second rider of a wave accepts; the third was not asked and gets no event."""
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


async def test_an_unread_offer_is_given_up_after_two_seconds(
    dispatch_scenario: DispatchScenario,
):
    """Without a display receipt the next rider is asked, long before the deadline."""
    dispatch_scenario.positions.put_rider("dead", 0.2)
    dispatch_scenario.positions.put_rider("alive", 0.4)
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.process_order(order_id)
    still = await dispatch_scenario.process_order(order_id, 1_999)
    passed = await dispatch_scenario.process_order(order_id, 1)

    assert list(still.offers) == ["dead"]
    assert list(passed.offers) == ["alive"]
    assert outcomes_by_rider(passed) == {"dead": OfferOutcome.UNREAD}


async def test_a_shown_offer_expires_at_its_deadline(
    dispatch_scenario: DispatchScenario,
):
    """Fifteen seconds and three of grace; a millisecond later the search goes on."""
    dispatch_scenario.positions.put_rider("slow", 0.2)
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.show_offers(await dispatch_scenario.process_order(order_id), "slow")
    still = await dispatch_scenario.process_order(order_id, 18_000)
    ended = await dispatch_scenario.process_order(order_id, 1)

    assert list(still.offers) == ["slow"]
    assert outcomes_by_rider(ended) == {"slow": OfferOutcome.EXPIRED}
    assert ended.state is DispatchState.EXHAUSTED


async def test_no_riders_is_sent_once_and_the_search_goes_on(dispatch_scenario: DispatchScenario):
    """The customer gets `no_riders` once; a rider that comes later is asked."""
    order_id = await dispatch_scenario.place_accepted_order()
    empty = [
        await dispatch_scenario.process_order(order_id, pause) for pause in (0, 2_000, 3_000, 5_000)
    ]
    dispatch_scenario.positions.put_rider("late", 1.0)
    found = await dispatch_scenario.process_order(order_id, 5_000)

    assert {each.state for each in empty} == {DispatchState.EXHAUSTED}
    assert list(found.offers) == ["late"]
    events = await dispatch_scenario.order_scenario.event_names("user:usr_1")
    assert events == ["order_accepted", *["dispatch_status"] * 3]


async def test_a_restarted_engine_knows_the_open_offers(
    dispatch_scenario: DispatchScenario,
):
    """A restart during an offer neither ends it nor offers another order to its rider."""
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
    """Two orders ask two riders; a rider that has declined may be asked for a third."""
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


async def offer_unread(scenario, rider):
    """Offer an order to a rider without a display receipt, then cancel it; whether it was asked."""
    order_id = await scenario.place_accepted_order()
    offered = list((await scenario.process_order(order_id)).offers)
    await scenario.process_order(order_id, 2_000)
    cancel = commands.CancelOrder(order_id=order_id)
    await scenario.order_scenario.order_service.cancel_order(
        scenario.order_scenario.caller("user", "usr_1"), cancel
    )
    await scenario.process_order(order_id)
    return offered == [rider]


async def test_three_unread_offers_in_a_row_pause_a_rider(dispatch_scenario: DispatchScenario):
    """An app that shows no offers is asked three times, then not for five minutes."""
    dispatch_scenario.positions.put_rider("unread", 0.2)
    asked = [await offer_unread(dispatch_scenario, "unread") for _ in range(4)]
    dispatch_scenario.clock.advance(5 * 60_000)

    assert asked == [True, True, True, False]
    assert await offer_unread(dispatch_scenario, "unread")


async def test_a_shown_offer_resets_the_unread_count(dispatch_scenario: DispatchScenario):
    """Two unread, one shown, two unread: the rider is not paused."""
    dispatch_scenario.positions.put_rider("shows", 0.2)
    asked = [await offer_unread(dispatch_scenario, "shows") for _ in range(2)]
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.show_offers(await dispatch_scenario.process_order(order_id), "shows")
    await dispatch_scenario.process_order(order_id, 2_000)
    await dispatch_scenario.decline_delivery(order_id, "shows")
    await dispatch_scenario.process_order(order_id)
    asked += [await offer_unread(dispatch_scenario, "shows") for _ in range(2)]

    assert asked == [True] * 4
    assert await dispatch_scenario.pauses.current(dispatch_scenario.clock.now_ms()) == {}


async def test_a_lifted_pause_ends_at_once(
    dispatch_scenario: DispatchScenario,
):
    """A rider whose pause is lifted is asked for the next order."""
    dispatch_scenario.positions.put_rider("back", 0.2)
    asked = [await offer_unread(dispatch_scenario, "back") for _ in range(3)]
    await dispatch_scenario.pauses.lift(RiderId("back"))

    assert [*asked, await offer_unread(dispatch_scenario, "back")] == [True] * 4


async def test_cash_orders_skip_riders_without_cash_headroom(
    dispatch_scenario: DispatchScenario,
):
    """A rider with less headroom than the price is asked for prepaid orders only."""
    dispatch_scenario.positions.put_rider("full", 0.1, cash_headroom_xaf=9_499)
    dispatch_scenario.positions.put_rider("room", 0.5, cash_headroom_xaf=9_500)
    cash, paid = (
        await dispatch_scenario.place_accepted_order(method="CASH"),
        await dispatch_scenario.place_accepted_order(),
    )

    assert list((await dispatch_scenario.process_order(cash)).offers) == ["room"]
    assert list((await dispatch_scenario.process_order(paid)).offers) == ["full"]


async def test_a_long_search_alerts_operators_every_five_minutes(
    dispatch_scenario: DispatchScenario,
):
    """One alert after three minutes, the next five minutes later, with ticks in between."""
    order_id = await dispatch_scenario.place_accepted_order()
    for _ in range(100):
        await dispatch_scenario.process_order(order_id, 5_000)
    alerts = await dispatch_scenario.alerts.recent()

    assert [(each.kind, each.order_id) for each in alerts] == [("no_riders", order_id)] * 2
    assert alerts[0].message == "no rider found for 3 min, 0 asked so far"
    assert alerts[1].ts - alerts[0].ts >= 300_000


async def accepted_order(scenario, km=2.0):
    """An order that a rider at this distance has accepted; its id."""
    scenario.positions.put_rider("paul", km)
    order_id = await scenario.place_accepted_order(method="CASH")
    await scenario.process_order(order_id)
    scenario.positions.report_position("paul", km)
    await scenario.accept_delivery(order_id, "paul")
    await scenario.process_order(order_id)
    scenario.positions.riders.clear()
    return order_id


async def ride(scenario, order_id, *distances_km):
    """Report the next distance every 15 s, None for no fix; the dispatch state afterwards."""
    for km in distances_km:
        scenario.clock.advance(15_000)
        if km is not None:
            scenario.positions.report_position("paul", km)
        await scenario.engine.process_order(order_id)
    return await scenario.dispatch_of(order_id)


async def test_a_rider_who_comes_nearer_keeps_the_order(dispatch_scenario: DispatchScenario):
    """Ten minutes at 160 m a minute do not withdraw the order."""
    order_id = await accepted_order(dispatch_scenario)
    after = await ride(dispatch_scenario, order_id, *[2.0 - i * 0.04 for i in range(40)])

    assert (after.state, after.rider_id) == (DispatchState.ASSIGNED, "paul")


async def test_a_rider_who_sends_nothing_for_a_minute_loses_the_order(
    dispatch_scenario: DispatchScenario,
):
    """The order is withdrawn; rider, customer and operators are told, and the rider is left out."""
    order_id = await accepted_order(dispatch_scenario)
    still = await ride(dispatch_scenario, order_id, 1.9, None, None, None, None)
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
    """Without 50 m of progress in four minutes the order is withdrawn, fixes or not."""
    order_id = await accepted_order(dispatch_scenario)
    still = await ride(dispatch_scenario, order_id, *[2.0] * 15)
    stalled = await ride(dispatch_scenario, order_id, 1.96)

    assert still.state is DispatchState.ASSIGNED
    assert outcomes_by_rider(stalled) == {"paul": OfferOutcome.STALLED}


async def test_a_rider_who_waits_at_the_pickup_keeps_the_order(dispatch_scenario: DispatchScenario):
    """Within 100 m of the pickup a rider need not come nearer."""
    order_id = await accepted_order(dispatch_scenario)
    after = await ride(dispatch_scenario, order_id, *[0.09] * 40)

    assert after.state is DispatchState.ASSIGNED


async def test_time_without_an_engine_does_not_count_against_a_rider(
    dispatch_scenario: DispatchScenario,
):
    """After two minutes without ticks a rider has a minute to report."""
    order_id = await accepted_order(dispatch_scenario)
    dispatch_scenario.clock.advance(120_000)
    await dispatch_scenario.engine.process_order(order_id)
    dispatch_scenario.positions.report_position("paul", 1.5)
    after = await ride(dispatch_scenario, order_id, 1.4)

    assert after.state is DispatchState.ASSIGNED


async def test_after_the_pickup_the_rider_keeps_the_order(dispatch_scenario: DispatchScenario):
    """No missing fix withdraws it any more; operators are alerted, and the checks go on."""
    order_id = await accepted_order(dispatch_scenario)
    vendor, rider = (
        dispatch_scenario.order_scenario.caller("vendor", "ven_1"),
        dispatch_scenario.order_scenario.caller("rider", "paul"),
    )
    await dispatch_scenario.order_scenario.order_service.order_ready(
        vendor, commands.OrderReady(order_id=order_id)
    )
    await dispatch_scenario.order_scenario.order_service.pick_up(
        rider, commands.PickUp(order_id=order_id)
    )
    after = await ride(dispatch_scenario, order_id, *[None] * 10)

    assert (after.state, after.rider_id) == (DispatchState.PICKED_UP, "paul")
    assert list(after.concerns) == ["goods_silent"]
    assert after.due_at_ms is not None


async def test_every_tick_with_a_decision_is_recorded(dispatch_scenario: DispatchScenario):
    """First no candidate, then one asked: candidates, reasons and scores are stored."""
    dispatch_scenario.positions.put_rider("off", 0.4, available=False)
    dispatch_scenario.positions.put_rider("beyond", 9.0)
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.process_order(order_id)
    dispatch_scenario.positions.put_rider("anna", 1.2)
    asked = await dispatch_scenario.process_order(order_id, 2_000)
    (_, none_found), (_, one) = await dispatch_scenario.decisions.list_for(order_id)

    assert [(each.rider_id, each.excluded) for each in none_found.candidates] == [
        ("off", "off duty"), ("beyond", "beyond 7 km"),
    ]  # fmt: skip
    assert [(each.rider_id, each.offer_id) for each in one.candidates] == [
        ("anna", asked.offers[RiderId("anna")].offer_id)
    ]
    assert one.candidates[0].score == sum(one.candidates[0].parts.values())
    assert (one.wave, one.radius_km, asked.decisions) == (1, 1.5, 2)


async def test_ticks_that_find_no_rider_are_one_decision(dispatch_scenario: DispatchScenario):
    """A minute without candidates is one decision that counts its ticks."""
    order_id = await dispatch_scenario.place_accepted_order()
    for _ in range(12):
        await dispatch_scenario.process_order(order_id, 5_000)
    [(number, decision)] = await dispatch_scenario.decisions.list_for(order_id)

    assert (number, decision.looks) == (0, 12)
    assert decision.until_ms - decision.at_ms == 55_000


async def test_an_order_keeps_its_first_and_its_last_decisions(dispatch_scenario: DispatchScenario):
    """At most twenty: the first ten and the last ten."""
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


async def test_an_engine_that_starts_while_redis_is_unavailable_retries(
    dispatch_scenario: DispatchScenario, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """A failure while timers are rebuilt is retried; it used to end the engine and its lease."""
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
    dispatch_scenario.engine = dispatch_scenario.new_engine(retry_s=0.0)
    dispatch_scenario.positions.put_rider("a", 0.1)

    async def is_offered():
        return (await dispatch_scenario.dispatch_of(order_id)).state is DispatchState.OFFERED

    async with until.running(dispatch_scenario.engine.run):
        await until.eventually(is_offered)
    assert next(failures, None) is None
    assert list((await dispatch_scenario.dispatch_of(order_id)).offers) == ["a"]


async def test_a_policy_change_holds_from_the_next_tick_on(dispatch_scenario: DispatchScenario):
    """A changed policy needs no restart, and other services keep their own."""
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
    """An index entry from before another acceptance is refused by the transaction."""
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
    """An engine that has seen the acceptance leaves the rider out before the index is updated."""
    await accepted_order(dispatch_scenario)
    dispatch_scenario.positions.put_rider("paul", 0.5)
    second = await dispatch_scenario.place_accepted_order()
    dispatch = await dispatch_scenario.process_order(second)
    [(_, decision)] = await dispatch_scenario.decisions.list_for(second)

    assert dispatch.state is DispatchState.EXHAUSTED
    assert [each.excluded for each in decision.candidates] == ["carries another order"]


async def test_an_engine_without_its_lease_writes_nothing(dispatch_scenario: DispatchScenario):
    """When the lease ends between search and write, the order stays as it was."""
    dispatch_scenario.positions.put_rider("paul", 0.5)
    order_id = await dispatch_scenario.place_accepted_order()
    before = await dispatch_scenario.order_scenario.orders.get(order_id)
    find = dispatch_scenario.positions.find_nearest_free

    async def find_then_lose_lease(*asked):
        found = await find(*asked)
        dispatch_scenario.order_scenario.fence.revoke()
        return found

    dispatch_scenario.positions.find_nearest_free = find_then_lose_lease
    with pytest.raises(LeadershipLost):
        await dispatch_scenario.process_order(order_id)

    assert await dispatch_scenario.order_scenario.orders.get(order_id) == before
    assert await dispatch_scenario.order_scenario.event_names("rider:paul") == []


async def test_a_new_leader_asks_no_rider_whom_the_former_one_has_just_asked(
    dispatch_scenario: DispatchScenario, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """A rider is held for an offer that the former leader commits after the new one began.

    Its transaction was under way, or the index did not show it yet: the new leader took the rider
    for free and asked it for a second order at once.
    """
    former = dispatch_scenario.engine
    engine = dispatch_scenario.engine = dispatch_scenario.new_engine(settle_ms=1_000)
    first = await dispatch_scenario.place_accepted_order()
    await former.process_order(first)
    dispatch_scenario.positions.put_rider("a", 0.1)
    second = await dispatch_scenario.place_accepted_order()
    timers = dispatch_scenario.order_scenario.timers
    arm, reads = timers.arm, []

    async def count_reads(due, **how):
        reads.append(set(due) == {first, second})
        await arm(due, **how)

    async def is_searched():
        dispatch = await dispatch_scenario.dispatch_of(second)
        return bool(dispatch.offers) or dispatch.state is not DispatchState.SEARCHING

    monkeypatch.setattr(timers, "arm", count_reads)
    async with until.running(engine.run):
        await until.true(lambda: sum(reads) == 1)
        await former.process_order(first)
        dispatch_scenario.clock.advance(1_000)
        engine.wake()
        await until.eventually(is_searched)
        offers = [list((await dispatch_scenario.dispatch_of(o)).offers) for o in (first, second)]

    assert offers == [["a"], []]
    assert sum(reads) == 2
