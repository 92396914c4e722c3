"""The caller of an order command that came over a socket."""

from dispatch.events.idempotency_records import request_key
from dispatch.orders.unit_of_work import Caller
from dispatch.wire.commands import Command
from handlers.sessions.session_registry import Session


def caller_of(session: Session, command: Command) -> Caller:
    """The caller of a socket's command; its `commandId` makes a repeat harmless."""
    principal = session.principal
    if command.command_id is None:
        return Caller(audience=principal.audience, id=principal.id)
    # Two commands may have the same fields; the name makes them different requests.
    request = (type(command).__name__, command)
    key = request_key(session.identity, f"COMMAND#{command.command_id}", request)
    return Caller(audience=principal.audience, id=principal.id, request_key=key)
