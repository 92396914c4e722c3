"""Commands of customers' sockets, and what happens when such a socket disconnects."""

import asyncio
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.model import Order, Position
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.riders.store import Rider, Riders
from dispatch.tracking.fix_pipeline import FixPipeline
from dispatch.tracking.freshness import FreshnessLimits
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.watchers import Watchers
from dispatch.wire import commands
from dispatch.wire.events import Freshness
from dispatch.wire.rights import is_over, shows_position
from dispatch.wire.snapshots import Snapshot, order_snapshot
from handlers.sessions.session_registry import Session
from handlers.sockets.caller import caller_of
from handlers.sockets.command_routes import route

# Source: chosen; a customer follows a handful of orders, not those of a city.
WATCHED_ORDERS_MAX = 20
# The key of a session's watched orders in `Session.state`.
_WATCHED_ORDER_IDS = "watched_order_ids"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserContext:
    """What the customers' commands use."""

    clock: Clock
    order_service: OrderService
    orders: OrderStore
    riders: Riders
    fix_pipeline: FixPipeline
    positions: Positions
    watchers: Watchers
    freshness_limits: FreshnessLimits


class LocationView(TypedDict):
    """A place on the wire. Units: degrees."""

    lat: float
    lng: float


class RiderView(TypedDict):
    """The rider of an order as its customer may see it. Units: Unix milliseconds, metres."""

    riderId: str
    name: str | None
    vehicle: str | None
    state: Freshness
    location: NotRequired[LocationView]
    ts: NotRequired[int]
    receivedAt: NotRequired[int]
    accuracy: NotRequired[float | None]


class UnsubscribeAck(TypedDict):
    """Acknowledgement of `unsubscribe_order`."""

    orderId: str


async def on_subscribe_order(
    context: UserContext, session: Session, command: commands.SubscribeOrder
) -> Snapshot:
    """Show the order now, with its rider's last position, and its rider as it moves.

    An order that is over is shown as it ended: with its rider's name, and without a position.

    The watcher joins before the rider's position is read, so that no position is missed between
    the two; other changes of the order come through the inbox.

    Errors: Refused NOT_FOUND, RATE_LIMITED above WATCHED_ORDERS_MAX; StoreUnavailable.
    """
    order_id = command.order_id
    order = await _own_order(context, session, order_id)
    if is_over(order):
        stop_watching(context, session, order_id)
        return await _shown(context, order, await _rider_profile(context, order))
    watched = _watched_order_ids(session)
    if len(watched | {order_id}) > WATCHED_ORDERS_MAX:
        await _unwatch_finished(context, session)
    if len(watched | {order_id}) > WATCHED_ORDERS_MAX:
        raise Refused(Refusal.RATE_LIMITED, f"watch at most {WATCHED_ORDERS_MAX} orders at once")
    watched.add(order_id)
    joining = context.watchers.join(order_id, session.sender)
    if order.rider_id is None:
        await joining
        # A rider who was assigned meanwhile may have been shown before this node watched.
        order = await _own_order(context, session, order_id)
        profile = await _rider_profile(context, order)
    else:
        _, profile = await asyncio.gather(joining, _rider_profile(context, order))
    return await _shown(context, order, profile)


async def _shown(context: UserContext, order: Order, profile: Rider | None) -> Snapshot:
    snapshot = order_snapshot(order, "user")
    if order.rider_id is not None:
        last = await _last_position(context, order.rider_id) if shows_position(order) else None
        snapshot["rider"] = _rider_view(context, order.rider_id, profile, last)
    return snapshot


def stop_watching(context: UserContext, session: Session, order_id: str) -> None:
    """Stop showing an order's rider, since the order is over."""
    _watched_order_ids(session).discard(order_id)
    context.watchers.drop(order_id, session.sender)


async def _unwatch_finished(context: UserContext, session: Session) -> None:
    """Stop watching finished orders, so that an app open for days can watch new ones."""
    watched = tuple(_watched_order_ids(session))
    orders = await asyncio.gather(*map(context.orders.get, watched))
    for order_id, order in zip(watched, orders, strict=True):
        if order is None or is_over(order):
            _watched_order_ids(session).discard(order_id)
            await context.watchers.leave(order_id, session.sender)


def _watched_order_ids(session: Session) -> set[str]:
    return session.state.setdefault(_WATCHED_ORDER_IDS, set())


async def _own_order(context: UserContext, session: Session, order_id: str) -> Order:
    order = await context.orders.get(order_id)
    if order is None or order.user_id != session.principal.id:
        raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id} of yours")
    return order


async def _rider_profile(context: UserContext, order: Order) -> Rider | None:
    return None if order.rider_id is None else await context.riders.profile(order.rider_id)


def _rider_view(
    context: UserContext, rider_id: str, profile: Rider | None, last: Position | None
) -> RiderView:
    view: RiderView = {
        "riderId": rider_id,
        "name": profile.name if profile else None,
        "vehicle": profile.vehicle if profile else None,
        "state": "lost",
    }
    if last is not None:
        view["location"] = {"lat": last.lat, "lng": last.lng}
        view["ts"] = last.ts
        view["receivedAt"] = last.received_at
        view["accuracy"] = last.accuracy
        age_ms = context.clock.now_ms() - last.received_at
        view["state"] = context.freshness_limits.of_age(age_ms)
    return view


async def _last_position(context: UserContext, rider_id: str) -> Position | None:
    """This node's own position of the rider; it is newer than that in Redis by up to one flush."""
    local = context.fix_pipeline.last_position(rider_id)
    if local is not None:
        return local.position
    return await context.positions.last_position(rider_id)


async def on_unsubscribe_order(
    context: UserContext, session: Session, command: commands.UnsubscribeOrder
) -> UnsubscribeAck:
    """Stop showing the order."""
    _watched_order_ids(session).discard(command.order_id)
    await context.watchers.leave(command.order_id, session.sender)
    return {"orderId": command.order_id}


async def on_cancel_order(
    context: UserContext, session: Session, command: commands.CancelOrder
) -> Snapshot:
    """Cancel the order."""
    return await context.order_service.cancel_order(caller_of(session, command), command)


async def on_rate_order(
    context: UserContext, session: Session, command: commands.RateOrder
) -> Snapshot:
    """Rate a delivered order."""
    return await context.order_service.rate_order(caller_of(session, command), command)


async def on_disconnect(context: UserContext, session: Session) -> None:
    """Stop showing all orders of the socket."""
    await context.watchers.leave_all(session.sender)


COMMANDS = {
    "subscribe_order": route(commands.SubscribeOrder, on_subscribe_order),
    "unsubscribe_order": route(commands.UnsubscribeOrder, on_unsubscribe_order),
    "cancel_order": route(commands.CancelOrder, on_cancel_order),
    "rate_order": route(commands.RateOrder, on_rate_order),
}
