"""Pub/sub connection: a lost connection raises an error and is never reconnected silently."""

import pytest

from dispatch.errors import StoreUnavailable
from dispatch.storage.cluster import servers_of
from dispatch.storage.pubsub_connection import PubSubConnection
from dispatch.storage.redis_client import RedisClients

pytestmark = pytest.mark.engines


class ConnectionRecorder:
    """Records the connections that were made."""

    def __init__(self, redis):
        self._servers = servers_of(redis.listener)
        self.made, self.errors = [], []

    def make_connection(self):
        """A recorded connection."""
        self.made.append(self._servers.make_connection(""))
        return self.made[-1]


@pytest.fixture
async def recorder(redis: RedisClients):
    """A recorder whose connections are closed after the test."""
    recorded = ConnectionRecorder(redis)
    yield recorded
    for each in recorded.made:
        await each.disconnect(nowait=True)


async def test_closed_connection_does_not_send(recorder: ConnectionRecorder):
    """A send on a closed connection raises StoreUnavailable, without a reconnect.

    A new connection would not have the earlier subscriptions.
    """
    connection = PubSubConnection(recorder.make_connection, recorder.errors.append)
    await connection.open()
    [made] = recorder.made
    await made.disconnect(nowait=True)
    with pytest.raises(StoreUnavailable):
        await connection.send("SSUBSCRIBE", ["channel"])

    assert not made.is_connected


async def test_write_error_of_a_closed_connection_is_store_unavailable(
    recorder: ConnectionRecorder, monkeypatch: pytest.MonkeyPatch
):
    """A RuntimeError of the event loop's write is StoreUnavailable."""
    connection = PubSubConnection(recorder.make_connection, recorder.errors.append)
    await connection.open()

    def closed(_packed):
        raise RuntimeError("unable to perform operation; the handler is closed")

    monkeypatch.setattr(recorder.made[0]._writer, "write", closed)
    with pytest.raises(StoreUnavailable, match="handler is closed"):
        await connection.send("SSUBSCRIBE", ["channel"])


async def test_open_connection_receives_its_channels(
    recorder: ConnectionRecorder, redis: RedisClients
):
    """After subscribing, the confirmation is read first, then the messages."""
    connection = PubSubConnection(recorder.make_connection, recorder.errors.append)
    await connection.open()
    await connection.send("SSUBSCRIBE", ["channel"])
    [confirmed] = await connection.read()
    await redis.commands.spublish("channel", "data")
    [message] = await connection.read()

    assert [confirmed[0], message] == [b"ssubscribe", [b"smessage", b"channel", b"data"]]
