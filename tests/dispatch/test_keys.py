"""Redis keys: unique names in one form, with the hash tags that scripts need."""

import inspect
import re

import pytest
from redis.crc import key_slot

from dispatch import keys
from dispatch.ids import OrderId, RiderId

# `<noun>:{<id>}[:<facet>]`; one that belongs to no id has no braces.
FORM = re.compile(r"[a-z]+:(\{[^{}]+\}(:[a-z_]+(:[^{}]*)?)?|[a-z]+)")
BUILDERS = {
    name: builder
    for name, builder in inspect.getmembers(keys, inspect.isfunction)
    if builder.__module__ == keys.__name__ and name != "identity"
}


def build(name: str) -> str:
    """A key with the names of its parameters as ids."""
    builder = BUILDERS[name]
    return builder(*inspect.signature(builder).parameters)


def slot(key: str) -> int:
    return key_slot(key.encode())


@pytest.mark.parametrize("name", BUILDERS)
def test_key_has_the_form(name: str):
    """Every key is `<noun>:{<id>}[:<facet>]`."""
    assert FORM.fullmatch(build(name))


def test_keys_are_distinct():
    """No two functions build the same key."""
    built = list(map(build, BUILDERS))
    assert len(set(built)) == len(built)


@pytest.mark.parametrize("name", BUILDERS)
def test_key_is_documented(name: str):
    """Every key's docstring has type, writer and reader, and a time to live or a channel."""
    text = inspect.getdoc(BUILDERS[name]) or ""
    assert "Redis:" in text
    assert "TTL:" in text or "Redis: channel" in text
    assert "riter" in text
    assert "eader" in text


@pytest.mark.parametrize(
    "together",
    [
        (keys.riders_geo("c"), keys.riders_facts("c")),
        (keys.inbox("u:1"), keys.inbox_head("u:1"), keys.inbox_seen("u:1")),
        (keys.timers("z"), keys.lease_token("z"), keys.lease("z")),
        (keys.board(), keys.totals(), keys.node_reports()),
        (keys.alerts(), keys.alert_raised("kind", "ord_1")),
        (keys.order_trail(OrderId("o")), keys.order_positions(OrderId("o"))),
        (keys.rider_fix(RiderId("r")), keys.rider_unread(RiderId("r"))),
        (keys.connections("u:1"), keys.inbox_channel("u:1")),
    ],
)
def test_keys_used_together_share_a_slot(together: tuple[str, ...]):
    """Keys of one script or transaction are in one slot of a cluster."""
    assert len(set(map(slot, together))) == 1


def test_identity_names_the_audience():
    """An identity is `<audience>:<id>`."""
    assert keys.identity("rider", "rdr_1") == "rider:rdr_1"
