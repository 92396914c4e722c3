"""The caller of a socket's command, and what makes its repeat a repeat."""

from dispatch.wire import commands
from handlers.sockets.caller import caller_of
from tests.handlers.sockets.composed_node import a_session


def test_a_command_without_an_id_cannot_be_repeated():
    """Its caller has no request key."""
    caller = caller_of(a_session("rider", "rdr_1"), commands.PickUp(order_id="ord_1"))
    assert (caller.audience, caller.id, caller.request_key) == ("rider", "rdr_1", None)


def test_only_the_same_command_of_the_same_identity_is_a_repeat():
    """Equal keys for equal commands; another command under the same id has another hash."""
    session = a_session("rider", "rdr_1")
    pick_up = commands.PickUp(order_id="ord_1", command_id="cmd_1")
    first, again = caller_of(session, pick_up), caller_of(session, pick_up)
    assert first.request_key == again.request_key
    arrived = commands.ArrivedPickup(order_id="ord_1", command_id="cmd_1")
    other = caller_of(session, arrived)
    assert first.request_key is not None
    assert other.request_key is not None
    assert first.request_key.record_key == other.request_key.record_key
    assert first.request_key != other.request_key
    elsewhere = caller_of(a_session("rider", "rdr_2"), pick_up).request_key
    assert elsewhere is not None
    assert elsewhere.record_key != first.request_key.record_key
