"""What riders may say, and what happens then.

Step 1 of a fix's way: [here] -> tracking.lane -> tracking.watch and tracking.drain.
"""

from contextlib import suppress
from typing import Any

from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.model import course_of
from dispatch.tracking.checks import Drop
from dispatch.wire import commands
from handlers.app.contexts import Desk
from handlers.sessions.session_registry import Session
from handlers.sockets.caller import caller_of
from handlers.sockets.gate import Command, Limit

# Drops that say the app is wrong, and not merely its reception.
_WRONG = {
    Drop.MALFORMED: "the fix has a field that is not a number in range",
    Drop.OFF_GLOBE: "the fix does not lie on this globe: lat -90..90, lng -180..180",
}


def on_location_update(desk: Desk, session: Session, fix: commands.Fix) -> Any:
    """Take one fix; awaits nothing, so that fixes keep their order.

    Errors: Refused MALFORMED for a fix that no phone can have; other drops are told by name.
    """
    drop = desk.lane.report(session.principal.id, fix, desk.clock.now_ms())
    if drop is None:
        return None
    if drop in _WRONG:
        raise Refused(Refusal.MALFORMED, _WRONG[drop], {"drop": drop.value})
    return {"dropped": drop.value}


def on_location_batch(desk: Desk, session: Session, command: commands.LocationBatch) -> Any:
    """Take the fixes of a time without reception."""
    return desk.lane.report_batch(session.principal.id, command.fixes, desk.clock.now_ms())


async def on_set_availability(
    desk: Desk, session: Session, command: commands.SetAvailability
) -> Any:
    """Go on or off duty; off duty the rider leaves the index at once.

    Whoever says so looks at his phone: a pause for unread offers ends.
    """
    rider_id, until_ms = session.principal.id, command.until
    await desk.riders.save_available(rider_id, available=command.available, until_ms=until_ms)
    desk.roster.set_available(rider_id, available=command.available, until_ms=until_ms)
    if command.available:
        await desk.pauses.lift(rider_id)
    else:
        with suppress(StoreUnavailable):
            # Nobody asks a rider who has been told that he is off duty; where Redis is away nobody
            # is asked at all, and the drain tells it as soon as it is back.
            await desk.lane.settle()
    return {"available": command.available}


async def on_accept_delivery(desk: Desk, session: Session, command: commands.AcceptDelivery) -> Any:
    """Take an offered delivery; from here on this rider's fixes are the order's."""
    rider_id = session.principal.id
    answer = await desk.flow.accept_delivery(caller_of(session, command), command)
    # A repeat gets the first answer again, though the order may have left his hands since.
    if command.order_id in (await desk.riders.duty(rider_id)).orders:
        desk.roster.assign(rider_id, command.order_id, desk.clock.now_ms())
    return answer


async def on_decline_delivery(
    desk: Desk, session: Session, command: commands.DeclineDelivery
) -> Any:
    """Turn an offered delivery down."""
    return await desk.flow.decline_delivery(caller_of(session, command), command)


async def on_arrived_pickup(desk: Desk, session: Session, command: commands.ArrivedPickup) -> Any:
    """Say that he stands at the pickup."""
    return await desk.flow.arrived_pickup(caller_of(session, command), command)


async def on_pick_up(desk: Desk, session: Session, command: commands.PickUp) -> Any:
    """Say that he has the goods."""
    return await desk.flow.pick_up(caller_of(session, command), command)


async def on_arrived_dropoff(desk: Desk, session: Session, command: commands.ArrivedDropoff) -> Any:
    """Say that he stands at the customer's door."""
    return await desk.flow.arrived_dropoff(caller_of(session, command), command)


async def on_complete_delivery(
    desk: Desk, session: Session, command: commands.CompleteDelivery
) -> Any:
    """Hand the goods over; the money is split right after."""
    answer = await desk.flow.complete_delivery(caller_of(session, command), command)
    desk.roster.release(session.principal.id, command.order_id)
    desk.settler.hand_over(command.order_id)
    return answer


async def on_release_delivery(
    desk: Desk, session: Session, command: commands.ReleaseDelivery
) -> Any:
    """Give the delivery back before the pickup."""
    answer = await desk.flow.release_delivery(caller_of(session, command), command)
    desk.roster.release(session.principal.id, command.order_id)
    return answer


async def on_connect(desk: Desk, session: Session) -> None:
    """Seat the rider with what he carries and how he is known."""
    rider_id = session.principal.id
    desk.roster.seat(rider_id)
    duty, about = await desk.rider(rider_id)
    desk.roster.describe(rider_id, about)
    # His seat may have outlived an earlier visit, and he may have delivered elsewhere since.
    desk.roster.carry(rider_id, duty.orders)
    for order_id in duty.orders:
        order = await desk.orders.get(order_id)
        course = course_of(order) if order is not None else None
        if course is not None:
            desk.roster.steer(rider_id, course)
    desk.roster.set_available(rider_id, available=duty.available, until_ms=duty.until_ms)
    desk.lane.greet(rider_id)
    with suppress(StoreUnavailable):
        # Without Redis his next fix says where he is.
        last = await desk.positions.last(rider_id)
        if last is not None:
            desk.lane.restore(rider_id, last)


async def on_disconnect(desk: Desk, session: Session) -> None:
    """His seat stays until he is lost; he may come back."""
    desk.roster.leave(session.principal.id)


COMMANDS = {
    "location_update": Command(commands.Fix, on_location_update, Limit.FIX),
    "update_location": Command(commands.Fix, on_location_update, Limit.FIX),
    "location_batch": Command(commands.LocationBatch, on_location_batch),
    "set_availability": Command(commands.SetAvailability, on_set_availability),
    "accept_delivery": Command(commands.AcceptDelivery, on_accept_delivery),
    "decline_delivery": Command(commands.DeclineDelivery, on_decline_delivery),
    "arrived_pickup": Command(commands.ArrivedPickup, on_arrived_pickup),
    "pick_up": Command(commands.PickUp, on_pick_up),
    "arrived_dropoff": Command(commands.ArrivedDropoff, on_arrived_dropoff),
    "complete_delivery": Command(commands.CompleteDelivery, on_complete_delivery),
    "release_delivery": Command(commands.ReleaseDelivery, on_release_delivery),
}
