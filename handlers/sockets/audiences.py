"""Who may connect, and what is done when somebody comes and goes: the four audiences, wired."""

from collections.abc import Callable

from dispatch.keys import identity
from dispatch.orders.outbox_entry import WorkloadChange
from handlers.app.contexts import Desk
from handlers.sessions.session_registry import ResumePoint, Session, SessionRegistry
from handlers.sockets import ops, rider, user, vendor
from handlers.sockets.event_delivery import EventDelivery
from handlers.sockets.gate import AudienceRoutes

# What each kind of client may say.
COMMANDS = {
    "user": user.COMMANDS,
    "vendor": vendor.COMMANDS,
    "rider": rider.COMMANDS,
    "ops": ops.COMMANDS,
}


def apply_workload_changes(desk: Desk) -> Callable[[str, WorkloadChange], None]:
    """Note at a desk what a rider takes up or puts down, whoever has decided it."""

    def note(rider_id: str, duty: WorkloadChange) -> None:
        if duty.carries:
            desk.rider_registry.assign(rider_id, duty.order_id, desk.clock.now_ms())
        else:
            desk.rider_registry.release(rider_id, duty.order_id)
        if duty.assignment is not None:
            desk.rider_registry.set_assignment(rider_id, duty.assignment)
        desk.cash_headroom.refresh_soon(rider_id)

    return note


def push_tracking_policy(sessions: SessionRegistry) -> Callable[[str, bytes], None]:
    """Tell all apps of a rider how often to report."""

    def advise(rider_id: str, packet: bytes) -> None:
        for session in sessions.for_identity(identity("rider", rider_id)):
            session.sender.send_event(packet)

    return advise


def build_audiences(desk: Desk, event_delivery: EventDelivery) -> list[AudienceRoutes]:
    """The audiences, served by a desk; their inboxes by a postman."""

    async def greet(session: Session, resume: ResumePoint | None) -> None:
        await event_delivery.attach(session, resume)

    async def greet_rider(session: Session, resume: ResumePoint | None) -> None:
        await rider.on_connect(desk, session)
        await event_delivery.attach(session, resume)

    async def greet_ops(session: Session, resume: ResumePoint | None) -> None:
        await event_delivery.attach(session, resume)
        await ops.on_connect(desk, session)

    async def part(session: Session) -> None:
        await event_delivery.detach(session)

    async def part_rider(session: Session) -> None:
        await rider.on_disconnect(desk, session)
        await event_delivery.detach(session)

    async def part_user(session: Session) -> None:
        await user.on_disconnect(desk, session)
        await event_delivery.detach(session)

    async def part_ops(session: Session) -> None:
        await ops.on_disconnect(desk, session)
        await event_delivery.detach(session)

    return [
        AudienceRoutes("user", user.COMMANDS, greet, part_user),
        AudienceRoutes("vendor", vendor.COMMANDS, greet, part),
        AudienceRoutes("rider", rider.COMMANDS, greet_rider, part_rider),
        AudienceRoutes("ops", ops.COMMANDS, greet_ops, part_ops),
    ]
