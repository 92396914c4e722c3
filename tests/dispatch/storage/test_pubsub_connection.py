"""A line that only listens: what is lost is said, and never mended behind anybody's back."""

import pytest

from dispatch.errors import StoreUnavailable
from dispatch.storage.cluster import servers_of
from dispatch.storage.pubsub_connection import Line
from dispatch.storage.redis_client import RedisClients

pytestmark = pytest.mark.engines


class Recorded:
    """The connections that a line has made."""

    def __init__(self, redis):
        self._servers = servers_of(redis.listener)
        self.made = []

    def dial(self):
        """One more."""
        self.made.append(self._servers.dial(""))
        return self.made[-1]


@pytest.fixture
async def recorded(redis: RedisClients):
    """Connections, hung up at the end."""
    found = Recorded(redis)
    yield found
    for each in found.made:
        await each.disconnect(nowait=True)


async def test_nothing_is_said_on_a_line_that_was_hung_up(recorded: Recorded):
    """It is lost, and not dialled anew: what had been asked for before would not be heard."""
    line = Line(recorded.dial)
    await line.open()
    [connection] = recorded.made
    await connection.disconnect(nowait=True)
    with pytest.raises(StoreUnavailable):
        await line.say("SSUBSCRIBE", ["channel"])

    assert not connection.is_connected


async def test_what_the_loop_makes_of_a_closed_line_is_a_lost_line(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
):
    """The loop raises an error of its own where somebody writes after the line closed."""
    line = Line(recorded.dial)
    await line.open()

    def closed(_packed):
        raise RuntimeError("unable to perform operation; the handler is closed")

    monkeypatch.setattr(recorded.made[0]._writer, "write", closed)
    with pytest.raises(StoreUnavailable, match="handler is closed"):
        await line.say("SSUBSCRIBE", ["channel"])


async def test_a_line_that_is_open_hears_what_it_asked_for(recorded: Recorded, redis: RedisClients):
    """The confirmation comes first, then what is said."""
    line = Line(recorded.dial)
    await line.open()
    await line.say("SSUBSCRIBE", ["channel"])
    [confirmed] = await line.hear()
    await redis.commands.spublish("channel", "news")
    [message] = await line.hear()

    assert [confirmed[0], message] == [b"ssubscribe", [b"smessage", b"channel", b"news"]]
