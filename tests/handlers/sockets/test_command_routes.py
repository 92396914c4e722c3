"""Command tables: which frames and payloads a route is found for and decodes."""

import msgspec
import pytest

from dispatch.errors import Refused
from dispatch.wire import commands
from handlers.sessions.session_registry import Session
from handlers.sockets.command_routes import AudienceRoutes, Limit, RouteTable, route


def on_fix(_context: list[str], _session: Session, _fix: commands.Fix) -> None:
    """Handle a fix at once."""


async def on_pick_up(_context: list[str], _session: Session, _command: commands.PickUp) -> None:
    """Handle a command that awaits."""


TABLE = RouteTable(
    [
        AudienceRoutes(
            "rider",
            ["the context"],
            {
                "location_update": route(commands.Fix, on_fix, Limit.FIX),
                "pick_up": route(commands.PickUp, on_pick_up),
            },
        ),
        AudienceRoutes("user", [], {}),
    ]
)


def test_a_route_is_found_in_its_namespace_only():
    """The other namespace does not know the command."""
    found = TABLE.find("/rider", "pick_up")
    assert found is not None
    assert (found.name, found.context, found.is_sync, found.is_fix) == (
        "pick_up", ["the context"], False, False,
    )  # fmt: skip
    assert TABLE.find("/user", "pick_up") is None
    assert TABLE.find("/rider", "fly") is None


def test_plain_functions_are_listed_by_frame_prefix():
    """A coroutine function has no place on the fast path."""
    [(prefix, fix)] = TABLE.sync_routes("/rider").items()
    assert (prefix, fix.is_sync, fix.is_fix) == ('42/rider,["location_update', True, True)
    assert TABLE.sync_routes("/user") == {}


def test_a_frame_and_an_event_decode_alike():
    """The JSON text of the fast path and the parsed event of the other give equal commands."""
    fix = TABLE.find("/rider", "location_update")
    assert fix is not None
    payload = {"lat": 4.05, "lng": 9.7, "seq": 3}
    text = msgspec.json.encode(payload).decode()
    assert fix.decode_json(text) == fix.decode_event(["location_update", payload]).command


@pytest.mark.parametrize("payload", [["ord_1"], [{"orderId": "ord_1"}]])
def test_a_bare_order_id_is_a_payload(payload: list[object]):
    """Where `orderId` is the only required field, the id may stand for the object."""
    found = TABLE.find("/rider", "pick_up")
    assert found is not None
    assert found.decode_event(["pick_up", *payload]).command == commands.PickUp(order_id="ord_1")


def test_a_second_payload_is_refused():
    """A command has one payload."""
    found = TABLE.find("/rider", "pick_up")
    assert found is not None
    with pytest.raises(Refused, match="one payload"):
        found.decode_event(["pick_up", {"orderId": "ord_1"}, {}])
