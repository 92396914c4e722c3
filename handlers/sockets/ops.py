"""What operators may say, and what happens then."""

from typing import Any

from dispatch.errors import Refusal, Refused
from dispatch.wire import commands
from dispatch.wire.commands import Bbox
from handlers.app.contexts import Desk
from handlers.sessions.session_registry import Session
from handlers.sockets.caller import caller_of
from handlers.sockets.gate import Command


async def on_watch_area(desk: Desk, session: Session, command: commands.WatchArea) -> Any:
    """Show a window of the city now and as it changes; a new window replaces the old one."""
    bbox = _window(command.bbox)
    return await desk.areas.watch(session.sid, bbox, session.outlet)


def _window(bbox: Bbox | list[float]) -> Bbox:
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
    desk.areas.unwatch(session.sid)
    return {}


async def on_reassign(desk: Desk, session: Session, command: commands.Reassign) -> Any:
    """Take an order from its rider and search again."""
    return await desk.flow.reassign(caller_of(session, command), command)


async def on_connect(desk: Desk, session: Session) -> None:
    """Tell what wants an operator, now and from here on."""
    await desk.alarm.watch(session.sid, session.outlet)


async def on_disconnect(desk: Desk, session: Session) -> None:
    """Nobody watches any more."""
    desk.areas.unwatch(session.sid)
    desk.alarm.unwatch(session.sid)


COMMANDS = {
    "watch_area": Command(commands.WatchArea, on_watch_area),
    "unwatch_area": Command(commands.UnwatchArea, on_unwatch_area),
    "reassign": Command(commands.Reassign, on_reassign),
}
