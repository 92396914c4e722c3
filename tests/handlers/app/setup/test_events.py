"""Events: the outbox relays to the inboxes that the sockets read."""

import pytest

from dispatch.events.inbox import InboxMessage
from handlers.app.setup.events import build_event_parts
from tests.handlers.app.conftest import OpenInfrastructure

pytestmark = pytest.mark.engines


async def test_the_parts_share_one_redis(infrastructure: OpenInfrastructure):
    """A message appended to an inbox is at its head."""
    built = infrastructure()
    await built.scripts.load()
    events = build_event_parts(built)
    await events.inboxes.append([InboxMessage("user:usr_1", "e1", "notice", "{}")], 1)
    assert (await events.inboxes.head("user:usr_1")).seq == 1
