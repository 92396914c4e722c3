"""What operators may say, and what happens then."""

from typing import Any

from dispatch.errors import Refusal, Refused
from dispatch.wire import commands
from dispatch.wire.commands import Bbox
from handlers.app.contexts import Desk
from handlers.sessions.session_registry import Session
from handlers.sockets.caller import caller_of
from handlers.sockets.gate import CommandRoute


async def on_watch_area(desk: Desk, session: Session, command: commands.WatchArea) -> Any:
    """Show a window of the city now and as it changes; a new window replaces the old one."""
    bbox = _parse_bbox(command.bbox)
    return await desk.viewport_feed.watch(session.sid, bbox, session.sender)


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


async def on_unwatch_area(desk: Desk, session: Session, command: commands.UnwatchArea) -> Any:
    """Show the window no more."""
    desk.viewport_feed.unwatch(session.sid)
    return {}


async def on_reassign(desk: Desk, session: Session, command: commands.Reassign) -> Any:
    """Take an order from its rider and search again."""
    return await desk.order_service.reassign(caller_of(session, command), command)


async def on_connect(desk: Desk, session: Session) -> None:
    """Tell what wants an operator, now and from here on."""
    await desk.alert_feed.subscribe(session.sid, session.sender)


async def on_disconnect(desk: Desk, session: Session) -> None:
    """Nobody watches any more."""
    desk.viewport_feed.unwatch(session.sid)
    desk.alert_feed.unsubscribe(session.sid)


COMMANDS = {
    "watch_area": CommandRoute(commands.WatchArea, on_watch_area),
    "unwatch_area": CommandRoute(commands.UnwatchArea, on_unwatch_area),
    "reassign": CommandRoute(commands.Reassign, on_reassign),
}
