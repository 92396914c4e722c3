"""A line that only listens: what is lost is said, and never mended behind anybody's back."""

import pytest

from dispatch.errors import StoreUnavailable
from dispatch.storage.cluster import servers_of
from dispatch.storage.pubsub_connection import PubSubConnection
from dispatch.storage.redis_client import RedisClients

pytestmark = pytest.mark.engines


class ConnectionRecorder:
    """The connections that a line has made."""

    def __init__(self, redis):
        self._servers = servers_of(redis.listener)
        self.made = []

    def make_connection(self):
        """One more."""
        self.made.append(self._servers.make_connection(""))
        return self.made[-1]


@pytest.fixture
async def recorder(redis: RedisClients):
    """Connections, hung up at the end."""
    found = ConnectionRecorder(redis)
    yield found
    for each in found.made:
        await each.disconnect(nowait=True)


async def test_closed_connection_does_not_send(recorder: ConnectionRecorder):
    """It is lost, and not dialled anew: what had been asked for before would not be heard."""
    line = PubSubConnection(recorder.make_connection)
    await line.open()
    [connection] = recorder.made
    await connection.disconnect(nowait=True)
    with pytest.raises(StoreUnavailable):
        await line.send("SSUBSCRIBE", ["channel"])

    assert not connection.is_connected


async def test_write_error_of_a_closed_connection_is_store_unavailable(
    recorder: ConnectionRecorder, monkeypatch: pytest.MonkeyPatch
):
    """The loop raises an error of its own where somebody writes after the line closed."""
    line = PubSubConnection(recorder.make_connection)
    await line.open()

    def closed(_packed):
        raise RuntimeError("unable to perform operation; the handler is closed")

    monkeypatch.setattr(recorder.made[0]._writer, "write", closed)
    with pytest.raises(StoreUnavailable, match="handler is closed"):
        await line.send("SSUBSCRIBE", ["channel"])


async def test_open_connection_receives_its_channels(
    recorder: ConnectionRecorder, redis: RedisClients
):
    """The confirmation comes first, then what is said."""
    line = PubSubConnection(recorder.make_connection)
    await line.open()
    await line.send("SSUBSCRIBE", ["channel"])
    [confirmed] = await line.read()
    await redis.commands.spublish("channel", "news")
    [message] = await line.read()

    assert [confirmed[0], message] == [b"ssubscribe", [b"smessage", b"channel", b"news"]]
