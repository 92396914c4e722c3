"""The four audiences with their commands, contexts and connection callbacks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dispatch.clock import Clock
from dispatch.keys import identity
from dispatch.orders.outbox_entry import WorkloadChange
from dispatch.tracking.cash_headroom import CashHeadroom
from dispatch.tracking.position_source import PositionSources
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.stores.source_claims import SourceClaim
from handlers.sessions.session_registry import ResumePoint, Session, SessionRegistry
from handlers.sockets import ops, rider, user, vendor
from handlers.sockets.command_routes import AudienceRoutes, CommandRoute
from handlers.sockets.event_delivery import EventDelivery

# The commands of each audience, for the API documents and for tests.
COMMANDS: Mapping[str, Mapping[str, CommandRoute[Any]]] = {
    "user": user.COMMANDS,
    "vendor": vendor.COMMANDS,
    "rider": rider.COMMANDS,
    "ops": ops.COMMANDS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketContexts:
    """The context of each audience."""

    user: user.UserContext
    vendor: vendor.VendorContext
    rider: rider.RiderContext
    ops: ops.OpsContext


def apply_workload_changes(
    rider_registry: RiderRegistry, cash_headroom: CashHeadroom, clock: Clock
) -> Callable[[str, WorkloadChange], None]:
    """A callback that brings workload changes into this node's rider registry.

    They come from any node: a rider's step, an operator's, or the engine's.
    """

    def apply(rider_id: str, change: WorkloadChange) -> None:
        if change.carries:
            rider_registry.assign(rider_id, change.order_id, clock.now_ms())
        else:
            rider_registry.release(rider_id, change.order_id)
        if change.assignment is not None:
            rider_registry.set_assignment(rider_id, change.assignment)
        cash_headroom.refresh_soon(rider_id)

    return apply


def push_tracking_policy(sessions: SessionRegistry) -> Callable[[str, bytes], None]:
    """A callback that sends a rider's sockets on this node their reporting interval."""

    def push(rider_id: str, packet: bytes) -> None:
        for session in sessions.for_identity(identity("rider", rider_id)):
            session.sender.send_event(packet)

    return push


def note_source_claims(
    rider_registry: RiderRegistry, sources: PositionSources, node: str, clock: Clock
) -> Callable[[str, SourceClaim], None]:
    """A callback that takes over what other nodes say of a rider's phones."""

    def note(rider_id: str, claim: SourceClaim) -> None:
        rider = rider_registry.get(rider_id)
        if rider is not None and claim.node != node:
            sources.note_claim(rider, claim, clock.now_ms())
            if rider.source is not None and rider.source.heard_at_ms:
                rider_registry.mark_elsewhere(rider)

    return note


def push_position_source(sessions: SessionRegistry) -> Callable[[str, str, bytes], None]:
    """A callback that tells one of a rider's sockets whether its fixes are used."""

    def push(rider_id: str, sid: str, packet: bytes) -> None:
        for session in sessions.for_identity(identity("rider", rider_id)):
            if session.sid == sid:
                session.sender.send_event(packet)

    return push


def build_audiences(
    contexts: SocketContexts, event_delivery: EventDelivery
) -> list[AudienceRoutes[Any]]:
    """All audiences; each socket gets its inbox from `event_delivery`."""

    async def on_rider_connect(session: Session, resume: ResumePoint | None) -> None:
        # The rider's state first: an event of the inbox may change it.
        await rider.on_connect(contexts.rider, session)
        await event_delivery.attach(session, resume)

    async def on_rider_disconnect(session: Session) -> None:
        await rider.on_disconnect(contexts.rider, session)
        await event_delivery.detach(session)

    async def on_user_disconnect(session: Session) -> None:
        await user.on_disconnect(contexts.user, session)
        await event_delivery.detach(session)

    async def on_ops_connect(session: Session, resume: ResumePoint | None) -> None:
        await event_delivery.attach(session, resume)
        await ops.on_connect(contexts.ops, session)

    async def on_ops_disconnect(session: Session) -> None:
        await ops.on_disconnect(contexts.ops, session)
        await event_delivery.detach(session)

    return [
        AudienceRoutes(
            "user", contexts.user, user.COMMANDS, event_delivery.attach, on_user_disconnect
        ),
        AudienceRoutes(
            "vendor",
            contexts.vendor,
            vendor.COMMANDS,
            event_delivery.attach,
            event_delivery.detach,
        ),
        AudienceRoutes(
            "rider", contexts.rider, rider.COMMANDS, on_rider_connect, on_rider_disconnect
        ),
        AudienceRoutes("ops", contexts.ops, ops.COMMANDS, on_ops_connect, on_ops_disconnect),
    ]
