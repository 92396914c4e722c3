"""What vendors may say, and what happens then."""

from typing import Any

from dispatch.wire import commands
from handlers.app.contexts import Desk
from handlers.sessions.session_registry import Session
from handlers.sockets.caller import caller_of
from handlers.sockets.gate import CommandRoute


async def on_accept_order(desk: Desk, session: Session, command: commands.AcceptOrder) -> Any:
    """Take the order."""
    return await desk.order_service.accept_order(caller_of(session, command), command)


async def on_reject_order(desk: Desk, session: Session, command: commands.RejectOrder) -> Any:
    """Turn the order down."""
    return await desk.order_service.reject_order(caller_of(session, command), command)


async def on_order_preparing(desk: Desk, session: Session, command: commands.OrderPreparing) -> Any:
    """Say that the kitchen has begun."""
    return await desk.order_service.order_preparing(caller_of(session, command), command)


async def on_order_ready(desk: Desk, session: Session, command: commands.OrderReady) -> Any:
    """Say that the goods wait for the rider."""
    return await desk.order_service.order_ready(caller_of(session, command), command)


async def on_set_online(desk: Desk, session: Session, command: commands.SetOnline) -> Any:
    """Open or close the shop."""
    await desk.catalogue.set_online(session.principal.id, online=command.online)
    return {"online": command.online}


COMMANDS = {
    "accept_order": CommandRoute(commands.AcceptOrder, on_accept_order),
    "reject_order": CommandRoute(commands.RejectOrder, on_reject_order),
    "order_preparing": CommandRoute(commands.OrderPreparing, on_order_preparing),
    "order_ready": CommandRoute(commands.OrderReady, on_order_ready),
    "set_online": CommandRoute(commands.SetOnline, on_set_online),
}
