"""What riders may say, and what happens then.

Step 1 of a fix's way: [here] -> tracking.lane -> tracking.watch and tracking.drain.
"""

from contextlib import suppress
from typing import Any

from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.ids import RiderId
from dispatch.model import assignment_of
from dispatch.tracking.checks import Drop
from dispatch.wire import commands
from handlers.app.contexts import Desk
from handlers.sessions.session_registry import Session
from handlers.sockets.caller import caller_of
from handlers.sockets.gate import CommandRoute, Limit

# Drops that say the app is wrong, and not merely its reception.
_MALFORMED_MESSAGES = {
    Drop.MALFORMED: "the fix has a field that is not a number in range",
    Drop.OFF_GLOBE: "the fix does not lie on this globe: lat -90..90, lng -180..180",
}


def on_location_update(desk: Desk, session: Session, fix: commands.Fix) -> Any:
    """Take one fix; awaits nothing, so that fixes keep their order.

    Errors: Refused MALFORMED for a fix that no phone can have; other drops are told by name.
    """
    drop = desk.fix_pipeline.process_fix(session.principal.id, fix, desk.clock.now_ms())
    if drop is None:
        return None
    if drop in _MALFORMED_MESSAGES:
        raise Refused(Refusal.MALFORMED, _MALFORMED_MESSAGES[drop], {"drop": drop.value})
    return {"dropped": drop.value}


def on_location_batch(desk: Desk, session: Session, command: commands.LocationBatch) -> Any:
    """Take the fixes of a time without reception."""
    return desk.fix_pipeline.process_batch(session.principal.id, command.fixes, desk.clock.now_ms())


async def on_set_availability(
    desk: Desk, session: Session, command: commands.SetAvailability
) -> Any:
    """Go on or off duty; off duty the rider leaves the index at once.

    Whoever says so looks at his phone: a pause for unread offers ends.
    """
    rider_id, until_ms = session.principal.id, command.until
    await desk.riders.save_availability(rider_id, available=command.available, until_ms=until_ms)
    desk.rider_registry.set_available(rider_id, available=command.available, until_ms=until_ms)
    if command.available:
        await desk.offer_pauses.lift(RiderId(rider_id))
    else:
        with suppress(StoreUnavailable):
            # Nobody asks a rider who has been told that he is off duty; where Redis is away nobody
            # is asked at all, and the drain tells it as soon as it is back.
            await desk.fix_pipeline.flush()
    return {"available": command.available}


async def on_accept_delivery(desk: Desk, session: Session, command: commands.AcceptDelivery) -> Any:
    """Take an offered delivery; from here on this rider's fixes are the order's."""
    rider_id = session.principal.id
    answer = await desk.order_service.accept_delivery(caller_of(session, command), command)
    # A repeat gets the first answer again, though the order may have left his hands since.
    if command.order_id in (await desk.riders.workload(rider_id)).orders:
        desk.rider_registry.assign(rider_id, command.order_id, desk.clock.now_ms())
    return answer


async def on_decline_delivery(
    desk: Desk, session: Session, command: commands.DeclineDelivery
) -> Any:
    """Turn an offered delivery down."""
    return await desk.order_service.decline_delivery(caller_of(session, command), command)


async def on_arrived_pickup(desk: Desk, session: Session, command: commands.ArrivedPickup) -> Any:
    """Say that he stands at the pickup."""
    return await desk.order_service.arrived_pickup(caller_of(session, command), command)


async def on_pick_up(desk: Desk, session: Session, command: commands.PickUp) -> Any:
    """Say that he has the goods."""
    return await desk.order_service.pick_up(caller_of(session, command), command)


async def on_arrived_dropoff(desk: Desk, session: Session, command: commands.ArrivedDropoff) -> Any:
    """Say that he stands at the customer's door."""
    return await desk.order_service.arrived_dropoff(caller_of(session, command), command)


async def on_complete_delivery(
    desk: Desk, session: Session, command: commands.CompleteDelivery
) -> Any:
    """Hand the goods over; the money is split right after."""
    answer = await desk.order_service.complete_delivery(caller_of(session, command), command)
    desk.rider_registry.release(session.principal.id, command.order_id)
    desk.settlement_worker.enqueue(command.order_id)
    return answer


async def on_release_delivery(
    desk: Desk, session: Session, command: commands.ReleaseDelivery
) -> Any:
    """Give the delivery back before the pickup."""
    answer = await desk.order_service.release_delivery(caller_of(session, command), command)
    desk.rider_registry.release(session.principal.id, command.order_id)
    return answer


async def on_connect(desk: Desk, session: Session) -> None:
    """Seat the rider with what he carries and how he is known."""
    rider_id = session.principal.id
    desk.rider_registry.connect(rider_id)
    duty, about = await desk.load_rider(rider_id)
    desk.rider_registry.set_attributes(rider_id, about)
    # His seat may have outlived an earlier visit, and he may have delivered elsewhere since.
    desk.rider_registry.set_orders(rider_id, duty.orders)
    for order_id in duty.orders:
        order = await desk.orders.get(order_id)
        course = assignment_of(order) if order is not None else None
        if course is not None:
            desk.rider_registry.set_assignment(rider_id, course)
    desk.rider_registry.set_available(rider_id, available=duty.available, until_ms=duty.until_ms)
    desk.fix_pipeline.send_tracking_policy(rider_id)
    with suppress(StoreUnavailable):
        # Without Redis his next fix says where he is.
        last = await desk.positions.last_position(rider_id)
        if last is not None:
            desk.fix_pipeline.restore(rider_id, last)


async def on_disconnect(desk: Desk, session: Session) -> None:
    """His seat stays until he is lost; he may come back."""
    desk.rider_registry.disconnect(session.principal.id)


COMMANDS = {
    "location_update": CommandRoute(commands.Fix, on_location_update, Limit.FIX),
    "update_location": CommandRoute(commands.Fix, on_location_update, Limit.FIX),
    "location_batch": CommandRoute(commands.LocationBatch, on_location_batch),
    "set_availability": CommandRoute(commands.SetAvailability, on_set_availability),
    "accept_delivery": CommandRoute(commands.AcceptDelivery, on_accept_delivery),
    "decline_delivery": CommandRoute(commands.DeclineDelivery, on_decline_delivery),
    "arrived_pickup": CommandRoute(commands.ArrivedPickup, on_arrived_pickup),
    "pick_up": CommandRoute(commands.PickUp, on_pick_up),
    "arrived_dropoff": CommandRoute(commands.ArrivedDropoff, on_arrived_dropoff),
    "complete_delivery": CommandRoute(commands.CompleteDelivery, on_complete_delivery),
    "release_delivery": CommandRoute(commands.ReleaseDelivery, on_release_delivery),
}
