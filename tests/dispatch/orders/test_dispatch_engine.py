"""The engine on real stores and a clock of its own: who is asked when, and what becomes of it."""

from typing import cast

import pytest
from msgspec.structs import replace

from dispatch.engine import Engine, Finds
from dispatch.model import DispatchState, OfferPolicy, Outcome
from dispatch.store.facts import Seen
from dispatch.store.offers import OfferReceipts
from dispatch.store.pauses import Pauses
from dispatch.store.positions import Positions
from dispatch.wire import commands

pytestmark = pytest.mark.engines


class Streets:
    """Riders at given distances from the shop, as the index of positions would find them."""

    def __init__(self, clock):
        self.clock = clock
        self.riders = {}

    def put(self, rider_id, km, **facts):
        """A free rider with a fresh fix; override one fact and keep the rest."""
        usual = {
            "lat": 4.051 + km / 111.195, "lng": 9.708, "ts": 0, "heading": None, "speed": None,
            "seen_at_ms": self.clock.now_ms(), "accuracy": 5.0, "available": True, "active": 0,
            "capacity": 1,
            "completion": 95.0, "rating": 4.5, "recent_offers": 0, "cash_headroom_xaf": 50_000,
            "vehicle": "MOTORBIKE", "name": rider_id, "distance_km": km,
        }  # fmt: skip
        self.riders[rider_id] = Seen(rider_id=rider_id, **{**usual, **facts})

    async def near(self, circle, limit, now_ms, fresh_ms):
        """Free riders inside the circle, nearest first; their apps report every second."""
        found = await self.near_any(circle, limit, now_ms)
        return [replace(each, seen_at_ms=now_ms) for each in found if each.is_free]

    async def near_any(self, circle, limit, now_ms):
        """Riders inside the circle, nearest first."""
        inside = [each for each in self.riders.values() if each.distance_km <= circle.radius_km]
        return sorted(inside, key=lambda each: each.distance_km)[:limit]


class Night:
    """A shop with its engine, and short words for what happens."""

    def __init__(self, shop, redis):
        self.shop = shop
        self.clock = shop.clock
        self.streets = Streets(self.clock)
        self.receipts = OfferReceipts(redis)
        self.pauses = Pauses(redis)
        self.policy = OfferPolicy()
        self.engine = self.restarted()

    def restarted(self):
        """An engine that remembers nothing."""
        finds = Finds(
            positions=cast("Positions", self.streets),
            timers=self.shop.timers,
            receipts=self.receipts,
            pauses=self.pauses,
            fresh_ms=15_000,
        )
        return Engine(self.shop.flow, self.shop.orders, finds, self.clock, self.policy)

    async def order(self, **kind):
        """An order that its vendor has accepted."""
        order_id = await self.shop.place(**kind)
        await self.shop.accept(order_id)
        return order_id

    async def look(self, order_id, after_ms=0):
        """Let time pass and look at the order; its dispatch then."""
        self.clock.advance(after_ms)
        await self.engine.look(order_id)
        return await self.dispatch(order_id)

    async def dispatch(self, order_id):
        """The search of the order."""
        return (await self.shop.orders.get(order_id)).dispatch

    async def show(self, dispatch, *riders):
        """These riders' apps have shown their offers."""
        shown = [(dispatch.offers[rider].offer_id, self.clock.now_ms()) for rider in riders]
        await self.receipts._write(shown)

    async def decline(self, order_id, rider):
        """A rider says no to the offer he has."""
        offer = (await self.dispatch(order_id)).offers[rider]
        command = commands.DeclineDelivery(order_id=order_id, offer_id=offer.offer_id)
        await self.shop.flow.decline_delivery(self.shop.as_("rider", rider), command)

    async def accept(self, order_id, rider):
        """A rider takes the offer he has."""
        offer = (await self.dispatch(order_id)).offers[rider]
        await self.shop.take(order_id, rider, offer.offer_id)


@pytest.fixture
def night(shop, redis):
    return Night(shop, redis)


def outcomes(dispatch):
    return {rider: asked.outcome for rider, asked in dispatch.asked.items()}


async def test_the_best_rider_is_asked_first_and_alone(night):
    """The first wave is one rider; nobody else hears of the order while he thinks."""
    night.streets.put("near", 0.3)
    night.streets.put("far", 0.9)
    order_id = await night.order()
    first = await night.look(order_id)
    await night.show(first, "near")
    later = await night.look(order_id, 10_000)

    assert list(first.offers) == list(later.offers) == ["near"]
    assert await night.shop.told("rider:far") == []


async def test_a_wave_is_asked_three_seconds_apart(night):
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


async def test_whoever_is_not_asked_yet_never_hears_of_an_order_that_is_taken(night):
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


async def test_an_offer_that_was_never_shown_goes_on_after_two_seconds(night):
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


async def test_a_shown_offer_runs_to_its_deadline_and_not_a_moment_longer(night):
    """Fifteen seconds and three of grace, then the search goes on."""
    night.streets.put("slow", 0.2)
    order_id = await night.order()
    await night.show(await night.look(order_id), "slow")
    still = await night.look(order_id, 18_000)
    ended = await night.look(order_id, 1)

    assert list(still.offers) == ["slow"]
    assert outcomes(ended) == {"slow": Outcome.EXPIRED}
    assert ended.state is DispatchState.EXHAUSTED


async def test_nobody_left_is_said_once_and_looked_at_again(night):
    """The customer hears `no_riders` once; a rider who comes later is asked."""
    order_id = await night.order()
    empty = [await night.look(order_id, pause) for pause in (0, 2_000, 3_000, 5_000)]
    night.streets.put("late", 1.0)
    found = await night.look(order_id, 5_000)

    assert {each.state for each in empty} == {DispatchState.EXHAUSTED}
    assert list(found.offers) == ["late"]
    told = await night.shop.told("user:usr_1")
    assert told == ["order_accepted", *["dispatch_status"] * 3]


async def test_an_engine_that_starts_anew_knows_the_open_offers(night):
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


async def test_a_rider_holds_one_offer_at_a_time(night):
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


async def test_three_unread_offers_in_a_row_pause_a_rider(night):
    """A phone in a drawer is asked three times, then not for five minutes."""
    night.streets.put("drawer", 0.2)
    asked = [await ignore(night, "drawer") for _ in range(4)]
    night.clock.advance(5 * 60_000)

    assert asked == [True, True, True, False]
    assert await ignore(night, "drawer")


async def test_an_offer_that_was_shown_begins_the_row_anew(night):
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


async def test_a_pause_ends_when_its_rider_shows_that_he_is_there(night):
    """Whoever goes on duty again is asked again at once."""
    night.streets.put("back", 0.2)
    asked = [await ignore(night, "back") for _ in range(3)]
    await night.pauses.lift("back")

    assert [*asked, await ignore(night, "back")] == [True] * 4


async def test_cash_orders_pass_over_riders_who_carry_too_much_cash(night):
    """A rider with room for less than the price is asked for prepaid orders only."""
    night.streets.put("full", 0.1, cash_headroom_xaf=9_499)
    night.streets.put("room", 0.5, cash_headroom_xaf=9_500)
    cash, paid = await night.order(method="CASH"), await night.order()

    assert list((await night.look(cash)).offers) == ["room"]
    assert list((await night.look(paid)).offers) == ["full"]
