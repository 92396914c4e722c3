"""Clients that receive numbered events over real sockets and resume after a reconnect."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp

from city.client.socket_client import ConnectionTarget, SocketClient
from city.model.counters import Counters
from dispatch.events.inbox import Inboxes, InboxMessage
from dispatch.keys import identity, inbox, inbox_head
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from tests.e2e.fleet import Fleet, cancel

# As many inboxes per batch as one pass of the relay handles.
BATCH_SIZE = 64
POLL_S = 0.02


class Listener:
    """A customer's client that records the number of each durable event it receives."""

    def __init__(self, name: str, open_socket: Callable[[Any], SocketClient]) -> None:
        self.name = name
        self.owner = identity("user", name)
        self.received: list[int] = []
        self.resyncs = 0
        self.socket = open_socket(self._on_event)

    def _on_event(self, event: str, body: dict[str, Any]) -> None:
        if event == "resync":
            self.resyncs += 1
        elif event == "order_preparing":
            self.received.append(body["version"])


class Publisher:
    """Publishes numbered events to inboxes, as the outbox relay does."""

    def __init__(self, clients: RedisClients, inboxes: Inboxes) -> None:
        self.redis = clients.commands
        self._inboxes = inboxes
        self.published: dict[str, int] = {}
        # A flag instead of cancelling, after which it would be unknown what was still published.
        self.is_stopped = False

    async def publish(self, owners: Sequence[str]) -> None:
        """Publish the next event of each owner."""
        messages = []
        for owner in owners:
            number = self.published[owner] = self.published.get(owner, 0) + 1
            body = f'{{"orderId":"ord_1","version":{number}}}'
            messages.append(InboxMessage(owner, f"{owner}-{number}", "order_preparing", body))
        await self._inboxes.append(messages, int(time.time() * 1000))

    async def publish_until_stopped(
        self, owners: Sequence[str], rng: random.Random, every_s: float
    ) -> None:
        """Publish to random owners until stopped."""
        while not self.is_stopped:
            await self.publish(rng.sample(owners, min(BATCH_SIZE, len(owners))))
            await asyncio.sleep(every_s)

    async def delete_inbox(self, owner: str) -> None:
        """Delete an inbox, as if its retention had passed."""
        await self.redis.delete(inbox(owner), inbox_head(owner))


@asynccontextmanager
async def open_publisher(servers: Fleet) -> AsyncIterator[Publisher]:
    """Publisher on the fleet's Redis."""
    async with open_redis(servers.valkey.url) as clients:
        scripts = Scripts(clients.commands)
        await scripts.load()
        yield Publisher(clients, Inboxes(clients, scripts))


@asynccontextmanager
async def connect_listeners(
    servers: Fleet, urls: Sequence[str], count: int, seed: int
) -> AsyncIterator[list[Listener]]:
    """Connect this many listeners and keep them connected until the block ends."""
    counters, rng = Counters(), random.Random(seed)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        def open_socket(name: str, url: str, on_event: Any) -> SocketClient:
            target = ConnectionTarget(
                session, url, "/user", partial(servers.token_signer.sign, "USER", name)
            )
            return SocketClient(target, on_event, counters, random.Random(rng.random()))

        listeners = [
            Listener(f"usr_{n}", partial(open_socket, f"usr_{n}", urls[n % len(urls)]))
            for n in range(count)
        ]
        tasks = [asyncio.ensure_future(listener.socket.run()) for listener in listeners]
        try:
            for listener in listeners:
                await listener.socket.wait_connected()
            yield listeners
        finally:
            for task in tasks:
                await cancel(task)


async def wait_for(condition: Callable[[], bool], deadline_s: float) -> float:
    """Wait until a condition holds, or until the deadline; the time waited. Units: seconds."""
    began_s = time.perf_counter()
    # There is no event for an event that does not arrive.
    while not condition() and time.perf_counter() < began_s + deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    return time.perf_counter() - began_s


def count_losses(listeners: Sequence[Listener], published: dict[str, int]) -> dict[str, int]:
    """Count lost, repeated and reordered events, and resyncs."""
    expected = {
        listener.owner: list(range(1, published.get(listener.owner, 0) + 1))
        for listener in listeners
    }
    return {
        "events": sum(map(len, expected.values())),
        "lost": sum(
            len(set(expected[listener.owner]) - set(listener.received)) for listener in listeners
        ),
        "duplicated": sum(
            len(listener.received) - len(set(listener.received)) for listener in listeners
        ),
        "out_of_order": sum(
            listener.received != sorted(listener.received) for listener in listeners
        ),
        "resyncs": sum(listener.resyncs for listener in listeners),
    }
