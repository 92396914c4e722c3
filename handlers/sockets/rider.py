"""Commands of riders' sockets, and what happens when such a socket connects and disconnects.

A fix goes from here to `dispatch.tracking.fix_pipeline`, and from there to the watchers of its
rider's orders and to the Redis writer.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

from dispatch.accounts.duty import Duty
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.ids import RiderId
from dispatch.orders.offers.offer_pauses import OfferPauses
from dispatch.orders.rider_deliveries import RiderDeliveries
from dispatch.orders.rider_loader import RiderLoader
from dispatch.orders.service import OrderService
from dispatch.tracking.fix_pipeline import FixPipeline
from dispatch.tracking.fixes.model import Drop
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.stores.positions import Positions
from dispatch.wire import commands
from dispatch.wire.fix_decoding import SECONDS_HINT, SECONDS_MAX, has_seconds
from dispatch.wire.snapshots import Snapshot
from handlers.sessions.session_registry import Session
from handlers.sockets.caller import caller_of
from handlers.sockets.command_routes import fix_route, route
from handlers.sockets.fix_batches import DROP_MESSAGES, process_records

# Fixes that a phone may send beyond the rate limit after a connect, one for each second that it was
# away. Source: chosen, with `rate_limits.VIOLATIONS_MAX`; 1 Hz fixes of a quarter of an hour.
KEPT_FIXES_MAX = 900
# Drops that show a fault of the app; the others come with every bad reception.
_FAULTS_OF_APP = frozenset({Drop.MALFORMED, Drop.OFF_GLOBE})


@dataclass(frozen=True, slots=True, kw_only=True)
class RiderContext:
    """What the riders' commands use."""

    clock: Clock
    order_service: OrderService
    duty: Duty
    deliveries: RiderDeliveries
    rider_loader: RiderLoader
    rider_registry: RiderRegistry
    fix_pipeline: FixPipeline
    positions: Positions
    offer_pauses: OfferPauses


class DroppedFix(TypedDict):
    """Acknowledgement of a fix that was not used, with the reason."""

    dropped: str


class AvailabilityAck(TypedDict):
    """Acknowledgement of `set_availability`."""

    available: bool


def on_location_update(
    context: RiderContext, session: Session, fix: commands.Fix
) -> DroppedFix | None:
    """Process one fix; awaits nothing, so that fixes keep their order.

    Errors: Refused MALFORMED for a fix that no phone can have; other drops are named in the answer.
    """
    ts = fix.ts
    # Compared here first: the call would cost a tenth of a fix's way to this place.
    if ts is not None and ts < SECONDS_MAX and has_seconds(fix):
        raise Refused(Refusal.MALFORMED, SECONDS_HINT)
    now_ms = context.clock.now_ms()
    drop = context.fix_pipeline.process_fix(session.principal.id, fix, now_ms, session.sid)
    if drop is None:
        return None
    if drop in _FAULTS_OF_APP:
        raise Refused(Refusal.MALFORMED, DROP_MESSAGES[drop], {"drop": drop.value})
    return {"dropped": drop.value}


def on_location_batch(
    context: RiderContext, session: Session, command: commands.LocationBatch
) -> Mapping[str, object]:
    """Process the fixes of a time without reception; what was taken, and what dropped and why."""
    rider_id, now_ms, sid = session.principal.id, context.clock.now_ms(), session.sid
    pipeline = context.fix_pipeline
    return process_records(
        command.fixes, lambda fixes: pipeline.process_batch(rider_id, fixes, now_ms, sid)
    )


async def on_set_availability(
    context: RiderContext, session: Session, command: commands.SetAvailability
) -> AvailabilityAck:
    """Go on or off duty; off duty the rider leaves the index at once.

    A rider that goes on duty looks at the phone: a pause for unread offers ends.

    Errors: Refused NOT_APPROVED for going on duty.
    """
    _tap(context, session)
    rider_id, until_ms = RiderId(session.principal.id), command.until
    await context.duty.set_rider_available(rider_id, available=command.available, until_ms=until_ms)
    context.rider_registry.set_available(rider_id, available=command.available, until_ms=until_ms)
    if command.available:
        await context.offer_pauses.lift(rider_id)
    else:
        with suppress(StoreUnavailable):
            # An acknowledged rider gets no offers any more. Without Redis there are no offers at
            # all, and the Redis writer removes the rider as soon as Redis is back.
            await context.fix_pipeline.flush()
    return {"available": command.available}


async def on_accept_delivery(
    context: RiderContext, session: Session, command: commands.AcceptDelivery
) -> Snapshot:
    """Accept an offered delivery; from then on the rider's fixes are shown to the order's watchers.

    Errors: Refused NOT_APPROVED, OFFER_TAKEN, OFFER_EXPIRED, CONFLICT, CASH_LIMIT.
    """
    _tap(context, session)
    return await context.deliveries.accept(caller_of(session, command), command)


async def on_decline_delivery(
    context: RiderContext, session: Session, command: commands.DeclineDelivery
) -> Snapshot:
    """Decline an offered delivery."""
    _tap(context, session)
    return await context.order_service.decline_delivery(caller_of(session, command), command)


async def on_arrived_pickup(
    context: RiderContext, session: Session, command: commands.ArrivedPickup
) -> Snapshot:
    """Report the arrival at the pickup."""
    _tap(context, session)
    return await context.order_service.arrived_pickup(caller_of(session, command), command)


async def on_pick_up(context: RiderContext, session: Session, command: commands.PickUp) -> Snapshot:
    """Report that the rider has the goods."""
    _tap(context, session)
    return await context.order_service.pick_up(caller_of(session, command), command)


async def on_arrived_dropoff(
    context: RiderContext, session: Session, command: commands.ArrivedDropoff
) -> Snapshot:
    """Report the arrival at the dropoff."""
    _tap(context, session)
    return await context.order_service.arrived_dropoff(caller_of(session, command), command)


async def on_complete_delivery(
    context: RiderContext, session: Session, command: commands.CompleteDelivery
) -> Snapshot:
    """Report that the goods were handed over."""
    _tap(context, session)
    return await context.deliveries.complete(caller_of(session, command), command)


async def on_release_delivery(
    context: RiderContext, session: Session, command: commands.ReleaseDelivery
) -> Snapshot:
    """Give the delivery back before the pickup."""
    _tap(context, session)
    return await context.deliveries.release(caller_of(session, command), command)


async def on_connect(context: RiderContext, session: Session) -> None:
    """Load the rider's state into this node, and send its reporting interval.

    Errors: StoreUnavailable, TableUnavailable.
    """
    rider_id, pipeline = RiderId(session.principal.id), context.fix_pipeline
    now_ms = context.clock.now_ms()
    known = context.rider_registry.connect(rider_id)
    # What the phone kept while it was away comes at once, before anything is loaded.
    session.fix_bucket.grant(_kept_fixes(known.seen_at_ms, now_ms), context.clock.monotonic_s())
    pipeline.await_load(rider_id)
    pipeline.sources.open(known, session.sid, now_ms)
    session.on_activity = partial(_observe, context, rider_id)
    session.on_activity()
    await context.rider_loader.load(rider_id)
    pipeline.send_tracking_policy(rider_id)
    with suppress(StoreUnavailable):
        # Without Redis the rider's next fix gives its position.
        last = await context.positions.last_position(rider_id)
        if last is not None:
            pipeline.restore(rider_id, last, context.clock.now_ms())
    pipeline.finish_load(rider_id)


def _kept_fixes(seen_at_ms: int, now_ms: int) -> int:
    """How many fixes a phone may have kept since it was seen here; 0 is never. Units: Unix ms."""
    away_s = (now_ms - seen_at_ms) // 1000 if seen_at_ms else KEPT_FIXES_MAX
    return max(0, min(away_s, KEPT_FIXES_MAX))


def _observe(context: RiderContext, rider_id: RiderId) -> None:
    """Note that the rider's app is there: whoever decides on its orders asks for that."""
    context.rider_registry.observe(rider_id, context.clock.now_ms())


def _tap(context: RiderContext, session: Session) -> None:
    """Note that the rider uses this phone: its fixes show where the rider is."""
    rider = context.rider_registry.get(session.principal.id)
    if rider is not None:
        context.fix_pipeline.sources.tap(rider, session.sid, context.clock.now_ms())


async def on_disconnect(context: RiderContext, session: Session) -> None:
    """Count the socket out; the rider's state is kept until it is lost, it may reconnect."""
    rider = context.rider_registry.get(session.principal.id)
    if rider is not None:
        context.fix_pipeline.sources.close(rider, session.sid)
    context.rider_registry.disconnect(session.principal.id)


COMMANDS = {
    "location_update": fix_route(on_location_update),
    "update_location": fix_route(on_location_update),
    "location_batch": route(commands.LocationBatch, on_location_batch),
    "set_availability": route(commands.SetAvailability, on_set_availability),
    "accept_delivery": route(commands.AcceptDelivery, on_accept_delivery),
    "decline_delivery": route(commands.DeclineDelivery, on_decline_delivery),
    "arrived_pickup": route(commands.ArrivedPickup, on_arrived_pickup),
    "pick_up": route(commands.PickUp, on_pick_up),
    "arrived_dropoff": route(commands.ArrivedDropoff, on_arrived_dropoff),
    "complete_delivery": route(commands.CompleteDelivery, on_complete_delivery),
    "release_delivery": route(commands.ReleaseDelivery, on_release_delivery),
}
