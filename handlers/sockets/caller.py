"""Who asks a step of an order over a socket, and under which name he may repeat it."""

from dispatch.events.idempotency_records import request_key
from dispatch.orders.unit_of_work import Caller
from dispatch.wire.commands import Command
from handlers.sessions.session_registry import Session


def caller_of(session: Session, command: Command) -> Caller:
    """The caller of a socket's command; its `commandId` makes repeating it harmless."""
    receipt = None
    if command.command_id is not None:
        # Two commands may have the same fields; the name makes them different requests.
        asked = (type(command).__name__, command)
        receipt = request_key(session.identity, f"COMMAND#{command.command_id}", asked)
    principal = session.principal
    return Caller(audience=principal.audience, id=principal.id, request_key=receipt)
