"""Commands of vendors' sockets."""

from dataclasses import dataclass
from typing import TypedDict

from dispatch.accounts.duty import Duty
from dispatch.orders.service import OrderService
from dispatch.wire import commands
from dispatch.wire.snapshots import Snapshot
from handlers.sessions.session_registry import Session
from handlers.sockets.caller import caller_of
from handlers.sockets.command_routes import route


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorContext:
    """What the vendors' commands use."""

    order_service: OrderService
    duty: Duty


class OnlineAck(TypedDict):
    """Acknowledgement of `set_online`."""

    online: bool


async def on_accept_order(
    context: VendorContext, session: Session, command: commands.AcceptOrder
) -> Snapshot:
    """Accept an order."""
    return await context.order_service.accept_order(caller_of(session, command), command)


async def on_reject_order(
    context: VendorContext, session: Session, command: commands.RejectOrder
) -> Snapshot:
    """Reject an order."""
    return await context.order_service.reject_order(caller_of(session, command), command)


async def on_order_preparing(
    context: VendorContext, session: Session, command: commands.OrderPreparing
) -> Snapshot:
    """Report that the preparation has begun."""
    return await context.order_service.order_preparing(caller_of(session, command), command)


async def on_order_ready(
    context: VendorContext, session: Session, command: commands.OrderReady
) -> Snapshot:
    """Report that the goods wait for the rider."""
    return await context.order_service.order_ready(caller_of(session, command), command)


async def on_set_online(
    context: VendorContext, session: Session, command: commands.SetOnline
) -> OnlineAck:
    """Open or close the vendor for orders. Errors: Refused NOT_APPROVED for opening."""
    await context.duty.set_vendor_online(session.principal.id, online=command.online)
    return {"online": command.online}


COMMANDS = {
    "accept_order": route(commands.AcceptOrder, on_accept_order),
    "reject_order": route(commands.RejectOrder, on_reject_order),
    "order_preparing": route(commands.OrderPreparing, on_order_preparing),
    "order_ready": route(commands.OrderReady, on_order_ready),
    "set_online": route(commands.SetOnline, on_set_online),
}
