"""What customers may say, and what happens then."""

import asyncio
from typing import Any

from dispatch.errors import Refusal, Refused
from dispatch.model import TERMINAL_STATUSES, Order, OrderStatus, Position
from dispatch.riders.store import Rider
from dispatch.wire import commands
from dispatch.wire.snapshots import order_snapshot
from handlers.app.contexts import Desk
from handlers.sessions.session_registry import Session
from handlers.sockets.caller import caller_of
from handlers.sockets.gate import CommandRoute

# Source: security design; a customer follows a handful of orders, not a city's.
WATCHED_ORDERS_MAX = 20
# Nobody carries these any more.
_FINISHED = TERMINAL_STATUSES | {OrderStatus.DELIVERED}


async def on_subscribe_order(desk: Desk, session: Session, command: commands.SubscribeOrder) -> Any:
    """Show the order now, with its rider's last position, and as it moves.

    The watcher joins first and the rider's position is read then, so that nothing falls between
    them; what else happens to the order comes through the inbox.
    """
    order_id = command.order_id
    order = await _own_order(desk, session, order_id)
    watched = _watched_order_ids(session)
    if len(watched | {order_id}) > WATCHED_ORDERS_MAX:
        await _unwatch_finished(desk, session)
    if len(watched | {order_id}) > WATCHED_ORDERS_MAX:
        raise Refused(Refusal.RATE_LIMITED, f"watch at most {WATCHED_ORDERS_MAX} orders at once")
    watched.add(order_id)
    joining = desk.watchers.join(order_id, session.sender)
    if order.rider_id is None:
        await joining
        # A rider who came meanwhile may have been shown before anybody here watched.
        order = await _own_order(desk, session, order_id)
        profile = await _rider_profile(desk, order)
    else:
        _, profile = await asyncio.gather(joining, _rider_profile(desk, order))
    return {**order_snapshot(order, "user"), **await _rider_view(desk, order, profile)}


async def _unwatch_finished(desk: Desk, session: Session) -> None:
    """An app that is open for days keeps room for new orders."""
    watched = tuple(_watched_order_ids(session))
    orders = await asyncio.gather(*map(desk.orders.get, watched))
    for order_id, order in zip(watched, orders, strict=True):
        if order is None or order.status in _FINISHED:
            _watched_order_ids(session).discard(order_id)
            await desk.watchers.leave(order_id, session.sender)


def _watched_order_ids(session: Session) -> set[str]:
    return session.state.setdefault("watched", set())


async def _own_order(desk: Desk, session: Session, order_id: str) -> Order:
    order = await desk.orders.get(order_id)
    if order is None or order.user_id != session.principal.id:
        raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id} of yours")
    return order


async def _rider_profile(desk: Desk, order: Order) -> Rider | None:
    return None if order.rider_id is None else await desk.riders.profile(order.rider_id)


async def _rider_view(desk: Desk, order: Order, profile: Rider | None) -> dict[str, Any]:
    """The rider of an order as its customer may see him; empty while there is none."""
    rider_id = order.rider_id
    if rider_id is None:
        return {}
    view: dict[str, Any] = {
        "riderId": rider_id,
        "name": profile.name if profile else None,
        "vehicle": profile.vehicle if profile else None,
        "state": "lost",
    }
    last = await _last_position(desk, rider_id)
    if last is not None:
        view["location"] = {"lat": last.lat, "lng": last.lng}
        view["ts"] = last.ts
        view["receivedAt"] = last.received_at
        view["accuracy"] = last.accuracy
        view["state"] = desk.freshness(last.received_at)
    return {"rider": view}


async def _last_position(desk: Desk, rider_id: str) -> Position | None:
    """What this node has seen itself is newer than Redis by up to one flush."""
    here = desk.fix_pipeline.last_position(rider_id)
    if here is not None:
        return here.position
    return await desk.positions.last_position(rider_id)


async def on_unsubscribe_order(
    desk: Desk, session: Session, command: commands.UnsubscribeOrder
) -> Any:
    """Stop showing the order."""
    _watched_order_ids(session).discard(command.order_id)
    await desk.watchers.leave(command.order_id, session.sender)
    return {"orderId": command.order_id}


async def on_cancel_order(desk: Desk, session: Session, command: commands.CancelOrder) -> Any:
    """Call the order off."""
    return await desk.order_service.cancel_order(caller_of(session, command), command)


async def on_rate_order(desk: Desk, session: Session, command: commands.RateOrder) -> Any:
    """Say how it was."""
    return await desk.order_service.rate_order(caller_of(session, command), command)


async def on_disconnect(desk: Desk, session: Session) -> None:
    """Nobody watches any more."""
    await desk.watchers.leave_all(session.sender)


COMMANDS = {
    "subscribe_order": CommandRoute(commands.SubscribeOrder, on_subscribe_order),
    "unsubscribe_order": CommandRoute(commands.UnsubscribeOrder, on_unsubscribe_order),
    "cancel_order": CommandRoute(commands.CancelOrder, on_cancel_order),
    "rate_order": CommandRoute(commands.RateOrder, on_rate_order),
}
