"""Viewport feed: what a map window shows at first, and the deltas that follow."""

from typing import cast

import msgspec
import pytest

from dispatch.clock import ManualClock
from dispatch.events.operations_board import BoardLine, OperationsBoard
from dispatch.model import Position
from dispatch.storage.redis_client import Scripts
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from dispatch.wire.commands import Bbox
from dispatch.wire.events import AreaDelta, LatLng, OrderMarker
from handlers.sessions.session_registry import Session
from handlers.sockets.map_viewport import ENDED_SHOWN_MS
from tests.handlers.sockets.composed_node import ComposedNode, a_session, packets_of
from tests.waiting import Until

pytestmark = pytest.mark.engines

WINDOW = Bbox(south=4.0, west=9.6, north=4.1, east=9.8)
INSIDE, OUTSIDE = LatLng(lat=4.05, lng=9.7), LatLng(lat=4.5, lng=9.7)


async def watch(node: ComposedNode, sid: str = "adm_1") -> tuple[Session, AreaDelta]:
    """Watch the window; its session, and all that it shows at first."""
    session = a_session("ops", sid)
    shown = await node.services.viewport_feed.watch(session.sid, WINDOW, session.sender)
    return session, shown


async def tick(node: ComposedNode, session: Session) -> AreaDelta:
    """Let the feed tick; the delta that the session was sent."""
    before = len(packets_of(session))
    await node.services.viewport_feed.tick()
    [packet] = packets_of(session)[before:]
    name, body = msgspec.json.decode(packet.removeprefix(b"42/ops,"), type=tuple[str, AreaDelta])
    assert name == "area_delta"
    return body


async def put_rider(
    node: ComposedNode,
    rider_id: str,
    lat: float,
    received_at_ms: int,
    from_lat: float | None = None,
) -> None:
    """Index a rider at 9.7 east, as a node's Redis writer does."""
    position = Position(lat=lat, lng=9.7, ts=received_at_ms, received_at=received_at_ms)
    facts = RiderFacts(available=True, active=0)
    update = PositionUpdate(
        rider_id=rider_id,
        position=position,
        facts=facts,
        cell=cell_of(lat, 9.7),
        previous_cell=None if from_lat is None else cell_of(from_lat, 9.7),
    )
    await node.services.positions.put([update])


def a_marker(order_id: str, place: LatLng, version: int = 1, **changes: object) -> OrderMarker:
    """Build an order with both ends at one place."""
    marker = OrderMarker(
        order_id=order_id, status="PENDING", pickup=place, dropoff=place, version=version
    )
    return msgspec.structs.replace(marker, **changes)


async def post(node: ComposedNode, *markers: OrderMarker, ended: bool = False) -> None:
    """Put orders on the operations board."""
    board = OperationsBoard(node.redis, Scripts(node.redis.commands))
    await board.post([BoardLine(marker, ended) for marker in markers], {})


async def test_a_window_shows_what_lies_inside(node: ComposedNode):
    """Riders and orders; neither those outside nor lost riders."""
    now_ms = node.services.clock.now_ms()
    await put_rider(node, "rdr_in", 4.05, now_ms)
    await put_rider(node, "rdr_stale", 4.06, now_ms - node.services.settings.fix_fresh_ms - 1)
    await put_rider(node, "rdr_lost", 4.07, now_ms - node.services.settings.fix_lost_ms - 1)
    await put_rider(node, "rdr_out", 4.5, now_ms)
    await post(node, a_marker("ord_in", INSIDE), a_marker("ord_out", OUTSIDE))

    _, shown = await watch(node)

    states = {rider.rider_id: rider.state for rider in shown.riders}
    assert states == {"rdr_in": "live", "rdr_stale": "stale"}
    assert [order.order_id for order in shown.orders] == ["ord_in"]


async def test_a_delta_has_only_what_changed(node: ComposedNode, until: Until):
    """A moved rider; then nothing; then a changed order; then a rider that has left the window."""
    now_ms = node.services.clock.now_ms()
    await put_rider(node, "rdr_moves", 4.05, now_ms)
    await put_rider(node, "rdr_stays", 4.05, now_ms)
    await post(node, a_marker("ord_1", INSIDE), a_marker("ord_2", INSIDE))
    session, _ = await watch(node)

    await put_rider(node, "rdr_moves", 4.06, now_ms)
    delta = await tick(node, session)
    assert [(rider.rider_id, rider.lat) for rider in delta.riders] == [("rdr_moves", 4.06)]
    assert delta.orders == []

    unchanged = await tick(node, session)
    assert (unchanged.riders, unchanged.orders) == ([], [])

    await post(node, a_marker("ord_1", INSIDE, version=2, status="ACCEPTED"))
    changed = await orders_of_next_change(node, session, until)
    assert [(order.order_id, order.status) for order in changed] == [("ord_1", "ACCEPTED")]

    await put_rider(node, "rdr_moves", 4.5, now_ms, from_lat=4.06)
    gone = await tick(node, session)
    assert [(rider.rider_id, rider.gone) for rider in gone.riders] == [("rdr_moves", True)]


async def orders_of_next_change(
    node: ComposedNode, session: Session, until: Until
) -> list[OrderMarker]:
    """Tick until an order changes; pub/sub takes a moment. The orders of that delta."""
    found: list[OrderMarker] = []

    async def has_change() -> bool:
        found[:] = (await tick(node, session)).orders
        return bool(found)

    await until.eventually(has_change)
    return found


async def test_an_ended_order_is_shown_for_a_moment(node: ComposedNode, until: Until):
    """Its last state comes with one delta, and its disappearance with a later one."""
    await post(node, a_marker("ord_1", INSIDE))
    session, _ = await watch(node)
    ended_at_ms = node.services.clock.now_ms()
    ended = a_marker("ord_1", INSIDE, version=2, status="CANCELLED", updated_at=ended_at_ms)
    await post(node, ended, ended=True)

    [shown] = await orders_of_next_change(node, session, until)
    assert (shown.status, shown.gone) == ("CANCELLED", False)
    cast("ManualClock", node.services.clock).advance(ENDED_SHOWN_MS + 1)
    [gone] = (await tick(node, session)).orders
    assert (gone.order_id, gone.gone) == ("ord_1", True)


async def test_an_older_version_changes_nothing(node: ComposedNode, until: Until):
    """Board messages of one order may overtake each other."""
    await post(node, a_marker("ord_1", INSIDE, version=3, status="READY"))
    session, shown = await watch(node)
    assert [order.status for order in shown.orders] == ["READY"]
    await post(node, a_marker("ord_1", INSIDE, version=2, status="ACCEPTED"))
    await post(node, a_marker("ord_2", INSIDE))
    changed = await orders_of_next_change(node, session, until)
    assert [order.order_id for order in changed] == ["ord_2"]


async def test_an_unwatched_window_gets_no_deltas(node: ComposedNode):
    """Another operator's window goes on."""
    (gone, _), (stays, _) = await watch(node, "adm_1"), await watch(node, "adm_2")
    node.services.viewport_feed.unwatch(gone.sid)
    await tick(node, stays)
    assert packets_of(gone) == []
