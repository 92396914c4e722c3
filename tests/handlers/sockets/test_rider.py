"""Commands of riders' sockets, and this node's rider state that they keep."""

import asyncio

import msgspec
import pytest

from dispatch.errors import Refusal, Refused
from dispatch.ids import RiderId
from dispatch.orders.offers.offer_pauses import PauseRule
from dispatch.orders.unit_of_work import Caller
from dispatch.wire import commands
from handlers.sessions.session_registry import Session
from handlers.sockets import rider
from tests.handlers.sockets.composed_node import ComposedNode, a_session, owner_of

pytestmark = pytest.mark.engines


async def offer_order(node: ComposedNode) -> tuple[Session, commands.AcceptDelivery]:
    """Offer an order to a rider that is connected here; its session and its acceptance."""
    order = await node.insert_order("offered")
    session = a_session("rider", owner_of("rider", order))
    await rider.on_connect(node.contexts.rider, session)
    return session, commands.AcceptDelivery(
        order_id=order.order_id, offer_id="ofr_1", command_id="cmd_1"
    )


async def complete_elsewhere(node: ComposedNode, session: Session, order_id: str) -> None:
    """Do the rest of a delivery over another node."""
    steps, number = node.services.order_service, order_id.removeprefix("ord_")
    caller = Caller(audience="rider", id=session.principal.id)
    vendor = Caller(audience="vendor", id=f"ven_{number}")
    await steps.order_ready(vendor, commands.OrderReady(order_id=order_id))
    await steps.pick_up(caller, commands.PickUp(order_id=order_id))
    await steps.complete_delivery(caller, commands.CompleteDelivery(order_id=order_id))


def orders_of(node: ComposedNode, session: Session) -> tuple[str, ...]:
    """The orders that this node's registry gives a rider."""
    state = node.services.rider_registry.get(session.principal.id)
    assert state is not None
    return state.orders


async def test_an_accepted_order_is_the_riders_at_once(node: ComposedNode):
    """The next fix is shown to the order's watchers, whenever the workload event comes."""
    session, accept = await offer_order(node)
    assert orders_of(node, session) == ()
    answer = await rider.on_accept_delivery(node.contexts.rider, session, accept)
    assert (answer["orderId"], answer["dispatch"]["state"]) == (accept.order_id, "ASSIGNED")
    assert orders_of(node, session) == (accept.order_id,)


async def test_a_late_repeat_does_not_assign_the_order_again(node: ComposedNode):
    """A second acceptance after the delivery left the rider busy, and without further offers.

    The repeat gets the first answer again, and the rider carries nothing.
    """
    session, accept = await offer_order(node)
    first = await rider.on_accept_delivery(node.contexts.rider, session, accept)
    await complete_elsewhere(node, session, accept.order_id)
    node.services.rider_registry.release(session.principal.id, accept.order_id)
    again = await rider.on_accept_delivery(node.contexts.rider, session, accept)

    assert again["version"] == first["version"]
    assert orders_of(node, session) == ()


async def test_a_rider_that_delivered_elsewhere_reconnects_without_the_order(node: ComposedNode):
    """Its state here had outlived the lost connection, and it counted as busy."""
    session, accept = await offer_order(node)
    await rider.on_accept_delivery(node.contexts.rider, session, accept)
    await complete_elsewhere(node, session, accept.order_id)
    await rider.on_connect(node.contexts.rider, session)

    assert orders_of(node, session) == ()


async def test_a_released_order_is_no_longer_the_riders(node: ComposedNode):
    """The rider's fixes are not shown to the order's watchers any more."""
    session, accept = await offer_order(node)
    await rider.on_accept_delivery(node.contexts.rider, session, accept)
    release = commands.ReleaseDelivery(order_id=accept.order_id, reason="flat tyre")
    answer = await rider.on_release_delivery(node.contexts.rider, session, release)
    assert (answer["orderId"], orders_of(node, session)) == (accept.order_id, ())


async def test_availability_is_stored_and_known_here(node: ComposedNode):
    """On duty until a time, and off again."""
    session = a_session("rider", "rdr_duty")
    await rider.on_connect(node.contexts.rider, session)
    until_ms = node.services.clock.now_ms() + 3_600_000
    for available in (True, False):
        command = commands.SetAvailability(available=available, until=until_ms)
        answer = await rider.on_set_availability(node.contexts.rider, session, command)
        assert answer == {"available": available}
        stored = await node.services.riders.workload("rdr_duty")
        assert (stored.available, stored.until_ms) == (available, until_ms)
        state = node.services.rider_registry.get("rdr_duty")
        assert state is not None
        assert (state.available, state.until_ms) == (available, until_ms)


async def test_going_on_duty_lifts_an_offer_pause(node: ComposedNode):
    """A rider that uses its phone gets offers again."""
    pauses, now_ms = node.services.offer_pauses, node.services.clock.now_ms()
    await pauses.count_unread([RiderId("rdr_paused")], [], now_ms, PauseRule(1, 60_000))
    assert await pauses.current(now_ms) == {"rdr_paused": now_ms + 60_000}
    command = commands.SetAvailability(available=True)
    session = a_session("rider", "rdr_paused")
    await rider.on_set_availability(node.contexts.rider, session, command)
    assert await pauses.current(now_ms) == {}


def a_fix(lat: float = 4.05, lng: float = 9.7, ts: int | None = None) -> commands.Fix:
    """Build a good fix, unless the place is none."""
    return commands.Fix(lat=lat, lng=lng, accuracy=5.0, ts=ts)


async def test_a_used_fix_is_acknowledged_without_data(node: ComposedNode):
    """The registry has its position."""
    session = a_session("rider", "rdr_fix")
    await rider.on_connect(node.contexts.rider, session)
    assert rider.on_location_update(node.contexts.rider, session, a_fix()) is None
    shown = node.services.fix_pipeline.last_position("rdr_fix")
    assert shown is not None
    assert (shown.position.lat, shown.position.lng) == (4.05, 9.7)


async def test_a_dropped_fix_names_the_reason(node: ComposedNode):
    """A rider that is not connected here is absent."""
    session = a_session("rider", "rdr_absent")
    answer = rider.on_location_update(node.contexts.rider, session, a_fix())
    assert answer == {"dropped": "absent"}


@pytest.mark.parametrize(("lat", "lng"), [(91.0, 9.7), (4.05, float("nan"))])
async def test_an_impossible_fix_is_malformed(node: ComposedNode, lat: float, lng: float):
    """No phone reports such a place."""
    session = a_session("rider", "rdr_bad")
    await rider.on_connect(node.contexts.rider, session)
    with pytest.raises(Refused) as refused:
        rider.on_location_update(node.contexts.rider, session, a_fix(lat, lng))
    assert refused.value.code is Refusal.MALFORMED


async def test_a_batch_answers_with_counts(node: ComposedNode):
    """Taken fixes, and dropped ones by reason."""
    session = a_session("rider", "rdr_batch")
    await rider.on_connect(node.contexts.rider, session)
    now_ms = node.services.clock.now_ms()
    good = [a_fix(ts=now_ms - 2_000), a_fix(ts=now_ms - 1_000, lat=4.0501)]
    records = [*map(msgspec.to_builtins, good), {"lat": 91.0, "lng": 9.7}]
    batch = commands.LocationBatch(fixes=records)
    answer = rider.on_location_batch(node.contexts.rider, session, batch)
    assert (answer["accepted"], answer["dropped"]) == (2, {"off_globe": 1})


@pytest.mark.parametrize("ts", [1.0e9, 1_796_058_000, 1_796_058_000.5])
async def test_a_time_in_seconds_is_refused_with_a_hint(node: ComposedNode, ts: float):
    """As milliseconds it would be a day of January 1970, and every fix would be too old."""
    session = a_session("rider", "rdr_seconds")
    await rider.on_connect(node.contexts.rider, session)
    fix = commands.Fix(lat=4.05, lng=9.7, ts=ts)
    with pytest.raises(Refused, match="looks like seconds"):
        rider.on_location_update(node.contexts.rider, session, fix)


async def test_the_last_known_position_is_restored_at_connect(node: ComposedNode):
    """A rider that comes from another node is on the map before its next fix."""
    session = a_session("rider", "rdr_moved")
    await rider.on_connect(node.contexts.rider, session)
    await node.services.duty.set_rider_available("rdr_moved", available=True)
    node.services.rider_registry.set_available("rdr_moved", available=True)
    rider.on_location_update(node.contexts.rider, session, a_fix())
    await node.services.fix_pipeline.flush()
    node.services.rider_registry.set_available("rdr_moved", available=False)
    await rider.on_disconnect(node.contexts.rider, session)
    assert node.services.rider_registry.get("rdr_moved") is None

    await rider.on_connect(node.contexts.rider, session)
    shown = node.services.fix_pipeline.last_position("rdr_moved")
    assert shown is not None
    assert shown.position.lat == 4.05


@pytest.mark.parametrize(
    ("away_ms", "granted"), [(None, 900), (0, 0), (90_000, 90), (86_400_000, 900)]
)
async def test_a_phone_may_send_what_it_kept(node: ComposedNode, away_ms: int | None, granted: int):
    """One fix for each second that it was away from here, a quarter of an hour at most."""
    owner, clock = f"rdr_kept_{away_ms}", node.services.clock
    first = node.services.rider_registry.connect(owner)
    for away in () if away_ms is None else (away_ms,):
        first.seen_at_ms = clock.now_ms() - away
    session = a_session("rider", owner)
    await rider.on_connect(node.contexts.rider, session)
    now_s = clock.monotonic_s()
    taken = sum(session.fix_bucket.take_granted(now_s) for _ in range(1_000))

    assert taken - granted in (0, 1)


async def test_fixes_that_come_before_the_orders_are_loaded_are_in_the_trail(node: ComposedNode):
    """A phone sends its buffer as soon as it is connected."""
    order = await node.insert_order("assigned")
    owner = owner_of("rider", order)
    session = a_session("rider", owner)
    now_ms = node.services.clock.now_ms()
    loading = asyncio.create_task(rider.on_connect(node.contexts.rider, session))
    await asyncio.sleep(0)
    for age_s in (30, 20, 10, 0):
        early = a_fix(lat=4.05 + age_s / 100_000, ts=now_ms - age_s * 1_000)
        assert rider.on_location_update(node.contexts.rider, session, early) is None
    await loading
    state = node.services.rider_registry.get(owner)

    assert state is not None
    assert [position.ts for _, position in state.pending_trail] == [
        now_ms - age_s * 1_000 for age_s in (30, 20, 10, 0)
    ]


async def test_a_tap_makes_a_phone_the_active_one(node: ComposedNode):
    """The fixes of another one are paused, and are no longer told apart when it is closed."""
    phone, tablet = a_session("rider", "rdr_two"), a_session("rider", "rdr_two")
    tablet.sid = "sid_tablet"
    for session in (phone, tablet):
        await rider.on_connect(node.contexts.rider, session)
        rider.on_location_update(node.contexts.rider, session, a_fix())
    assert rider.on_location_update(node.contexts.rider, phone, a_fix(4.0501)) is None
    command = commands.SetAvailability(available=True)
    await rider.on_set_availability(node.contexts.rider, tablet, command)
    assert rider.on_location_update(node.contexts.rider, tablet, a_fix(4.0502)) is None
    paused = rider.on_location_update(node.contexts.rider, phone, a_fix(4.0503))
    assert paused == {"dropped": "paused"}
    await rider.on_disconnect(node.contexts.rider, tablet)
    assert rider.on_location_update(node.contexts.rider, phone, a_fix(4.0504)) is None
