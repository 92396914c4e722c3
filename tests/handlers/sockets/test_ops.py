"""Commands of operators' sockets."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.wire import commands
from dispatch.wire.commands import Bbox
from dispatch.wire.events import Alert
from handlers.sockets import ops
from tests.handlers.sockets.composed_node import ComposedNode, a_session, packets_of
from tests.waiting import Until

pytestmark = pytest.mark.engines


@pytest.mark.parametrize(
    "bbox", [[9.6, 4.0, 9.8, 4.1], Bbox(south=4.0, west=9.6, north=4.1, east=9.8)]
)
async def test_a_window_is_named_in_either_form(node: ComposedNode, bbox: Bbox | list[float]):
    """West, south, east, north as in GeoJSON, or by name; the empty city shows nothing."""
    session = a_session("ops", "adm_1")
    shown = await ops.on_watch_area(node.contexts.ops, session, commands.WatchArea(bbox=bbox))
    assert (shown.riders, shown.orders) == ([], [])
    unwatch = commands.UnwatchArea()
    assert await ops.on_unwatch_area(node.contexts.ops, session, unwatch) == {}


@pytest.mark.parametrize(
    "bbox", [[9.6, 4.1, 9.8, 4.0], [9.8, 4.0, 9.6, 4.1], [9.6, 4.0, 9.8, 90.5], [-181, 4, 9, 5]]
)
async def test_an_impossible_window_is_malformed(node: ComposedNode, bbox: list[float]):
    """South lies below north and west of east, on the globe."""
    with pytest.raises(Refused) as refused:
        await ops.on_watch_area(
            node.contexts.ops, a_session("ops", "adm_1"), commands.WatchArea(bbox=bbox)
        )
    assert refused.value.code is Refusal.MALFORMED


async def test_alerts_are_sent_from_connect_until_disconnect(node: ComposedNode, until: Until):
    """The one before it, the one after it, and none after the end."""
    session, context = a_session("ops", "adm_1"), node.contexts.ops

    async def raise_alert(order_id: str) -> None:
        alert = Alert(kind="no_riders", message="?", order_id=order_id, ts=1_000)
        assert await context.alert_feed.raise_alert(alert, 60_000)

    packets = packets_of(session)
    await raise_alert("ord_1")
    await ops.on_connect(context, session)
    await raise_alert("ord_2")
    await until.true(lambda: len(packets) == 2)
    await ops.on_disconnect(context, session)
    stays = a_session("ops", "adm_2")
    await ops.on_connect(context, stays)
    await raise_alert("ord_3")
    seen = packets_of(stays)
    await until.true(lambda: len(seen) == 3)
    assert len(packets) == 2
