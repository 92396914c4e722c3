"""Who may connect, and what is done when somebody comes and goes: the four audiences, wired."""

from collections.abc import Callable

from dispatch.keys import identity
from dispatch.orders.unit_of_work import Duty
from handlers.app.contexts import Desk
from handlers.sessions.session_registry import Resume, Session, Sessions
from handlers.sockets import ops, rider, user, vendor
from handlers.sockets.event_delivery import Postman
from handlers.sockets.gate import Audience

# What each kind of client may say.
COMMANDS = {
    "user": user.COMMANDS,
    "vendor": vendor.COMMANDS,
    "rider": rider.COMMANDS,
    "ops": ops.COMMANDS,
}


def duty(desk: Desk) -> Callable[[str, Duty], None]:
    """Note at a desk what a rider takes up or puts down, whoever has decided it."""

    def note(rider_id: str, duty: Duty) -> None:
        if duty.carries:
            desk.roster.assign(rider_id, duty.order_id, desk.clock.now_ms())
        else:
            desk.roster.release(rider_id, duty.order_id)
        if duty.course is not None:
            desk.roster.steer(rider_id, duty.course)
        desk.purses.touch(rider_id)

    return note


def advice(sessions: Sessions) -> Callable[[str, bytes], None]:
    """Tell all apps of a rider how often to report."""

    def advise(rider_id: str, packet: bytes) -> None:
        for session in sessions.of(identity("rider", rider_id)):
            session.outlet.tell(packet)

    return advise


def audiences(desk: Desk, postman: Postman) -> list[Audience]:
    """The audiences, served by a desk; their inboxes by a postman."""

    async def greet(session: Session, resume: Resume | None) -> None:
        await postman.greet(session, resume)

    async def greet_rider(session: Session, resume: Resume | None) -> None:
        await rider.on_connect(desk, session)
        await postman.greet(session, resume)

    async def greet_ops(session: Session, resume: Resume | None) -> None:
        await postman.greet(session, resume)
        await ops.on_connect(desk, session)

    async def part(session: Session) -> None:
        await postman.part(session)

    async def part_rider(session: Session) -> None:
        await rider.on_disconnect(desk, session)
        await postman.part(session)

    async def part_user(session: Session) -> None:
        await user.on_disconnect(desk, session)
        await postman.part(session)

    async def part_ops(session: Session) -> None:
        await ops.on_disconnect(desk, session)
        await postman.part(session)

    return [
        Audience("user", user.COMMANDS, greet, part_user),
        Audience("vendor", vendor.COMMANDS, greet, part),
        Audience("rider", rider.COMMANDS, greet_rider, part_rider),
        Audience("ops", ops.COMMANDS, greet_ops, part_ops),
    ]
