"""Commands of operators' sockets, and what happens when such a socket connects and disconnects."""

from collections.abc import Mapping
from dataclasses import dataclass

from dispatch.errors import Refusal, Refused
from dispatch.orders.service import OrderService
from dispatch.wire import commands
from dispatch.wire.commands import Bbox
from dispatch.wire.events import AreaDelta
from dispatch.wire.snapshots import Snapshot
from handlers.sessions.session_registry import Session
from handlers.sockets.alert_feed import AlertFeed
from handlers.sockets.caller import caller_of
from handlers.sockets.command_routes import route
from handlers.sockets.map_viewport import ViewportFeed


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsContext:
    """What the operators' commands use."""

    order_service: OrderService
    viewport_feed: ViewportFeed
    alert_feed: AlertFeed


async def on_watch_area(
    context: OpsContext, session: Session, command: commands.WatchArea
) -> AreaDelta:
    """Show a map window now and as it changes; a new window replaces the old one."""
    bbox = _parse_bbox(command.bbox)
    return await context.viewport_feed.watch(session.sid, bbox, session.sender)


def _parse_bbox(bbox: Bbox | list[float]) -> Bbox:
    if isinstance(bbox, Bbox):
        named = bbox
    else:
        west, south, east, north = bbox
        named = Bbox(south=south, west=west, north=north, east=east)
    if not (-90 <= named.south < named.north <= 90 and -180 <= named.west < named.east <= 180):
        raise Refused(
            Refusal.MALFORMED, "bbox must have south below north and west of east, on the globe"
        )
    return named


async def on_unwatch_area(
    context: OpsContext, session: Session, _command: commands.UnwatchArea
) -> Mapping[str, object]:
    """Stop showing the map window."""
    context.viewport_feed.unwatch(session.sid)
    return {}


async def on_reassign(
    context: OpsContext, session: Session, command: commands.Reassign
) -> Snapshot:
    """Take an order from its rider and search again."""
    return await context.order_service.reassign(caller_of(session, command), command)


async def on_connect(context: OpsContext, session: Session) -> None:
    """Send the last alerts, and each new one from then on."""
    await context.alert_feed.subscribe(session.sid, session.sender)


async def on_disconnect(context: OpsContext, session: Session) -> None:
    """Stop showing the map and the alerts."""
    context.viewport_feed.unwatch(session.sid)
    context.alert_feed.unsubscribe(session.sid)


COMMANDS = {
    "watch_area": route(commands.WatchArea, on_watch_area),
    "unwatch_area": route(commands.UnwatchArea, on_unwatch_area),
    "reassign": route(commands.Reassign, on_reassign),
}
