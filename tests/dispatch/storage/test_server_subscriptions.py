"""Subscriptions at one server: restored after any error of the server, which ends no loop."""

import pytest

from dispatch.errors import StoreUnavailable
from dispatch.storage.cluster import servers_of
from dispatch.storage.redis_client import RedisClients, open_redis
from dispatch.storage.server_subscriptions import ServerSubscriptions
from tests.waiting import Until

pytestmark = pytest.mark.engines


class RecordingOwner:
    """Records what it is told."""

    can_move = False

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.gaps = self.moves = 0

    def deliver(self, messages: list[tuple[str, bytes]]) -> None:
        """Record messages."""
        self.messages += messages

    def report_gap(self) -> None:
        """Count a gap."""
        self.gaps += 1

    def report_move(self) -> None:
        """Count a move."""
        self.moves += 1


def subscriptions_of(clients: RedisClients, owner: RecordingOwner) -> ServerSubscriptions:
    """The subscriptions at the one server."""
    return ServerSubscriptions(servers_of(clients.listener), "", owner)


async def test_messages_are_delivered_and_heartbeats_are_not(redis: RedisClients, until: Until):
    """The owner gets the messages of its channels; the node's own heartbeats stay out of them."""
    owner = RecordingOwner()
    subscriptions = subscriptions_of(redis, owner)
    async with until.running(subscriptions.run, subscriptions.beat):
        await subscriptions.subscribe_all(["one", "two"])
        await subscriptions.wait_subscribed("two")

        async def has_beaten() -> bool:
            return bool(await redis.commands.keys("heartbeat:*"))

        await until.eventually(has_beaten)
        await redis.commands.spublish("two", "message")
        await until.true(lambda: bool(owner.messages))

    assert owner.messages == [("two", b"message")]


async def test_a_refused_subscription_is_tried_again(redis: RedisClients, until: Until):
    """A server that refuses to subscribe is unavailable until it allows it; the loop goes on.

    The reply of an error that was not foreseen ended the loop of every server.
    """
    port = redis.commands.get_connection_kwargs()["port"]
    await redis.commands.execute_command(
        "ACL", "SETUSER", "limited", "on", ">secret", "~*", "resetchannels", "+@all"
    )
    owner = RecordingOwner()
    async with open_redis(f"redis://limited:secret@127.0.0.1:{port}") as clients:
        subscriptions = subscriptions_of(clients, owner)
        async with until.running(subscriptions.run, subscriptions.beat):
            await subscriptions.subscribe("channel")
            await until.true(lambda: not subscriptions.is_working)
            await redis.commands.execute_command("ACL", "SETUSER", "limited", "allchannels")
            await until.true(lambda: subscriptions.is_working and owner.gaps > 0)
            await redis.commands.spublish("channel", "message")
            await until.true(lambda: bool(owner.messages))
    await redis.commands.execute_command("ACL", "DELUSER", "limited")

    assert owner.messages == [("channel", b"message")]


async def test_a_server_that_is_away_is_unavailable(until: Until):
    """Subscribing at a server that cannot be reached raises StoreUnavailable and is kept."""
    owner = RecordingOwner()
    async with open_redis("redis://127.0.0.1:1") as clients:
        subscriptions = subscriptions_of(clients, owner)
        with pytest.raises(StoreUnavailable):
            await subscriptions.subscribe("channel")

    assert subscriptions.channels == {"channel"}
    assert not subscriptions.is_working
