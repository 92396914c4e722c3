"""Apps that listen to numbered events through real sockets, and come back where they stopped."""

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

# Events of one round go to as many inboxes as one relay carries.
BATCH_SIZE = 64
POLL_S = 0.02


class Listener:
    """One customer's app; each durable event that it has shown, by its number."""

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
    """Says numbered events to the listeners, as the relay of an outbox would."""

    def __init__(self, clients: RedisClients, inboxes: Inboxes) -> None:
        self.redis = clients.commands
        self._inboxes = inboxes
        self.published: dict[str, int] = {}
        # Whoever is cancelled does not know whether his last words were heard.
        self.is_stopped = False

    async def publish(self, owners: Sequence[str]) -> None:
        """The next event of each of these."""
        letters = []
        for owner in owners:
            number = self.published[owner] = self.published.get(owner, 0) + 1
            body = f'{{"orderId":"ord_1","version":{number}}}'
            letters.append(InboxMessage(owner, f"{owner}-{number}", "order_preparing", body))
        await self._inboxes.append(letters, int(time.time() * 1000))

    async def publish_until_stopped(
        self, owners: Sequence[str], rng: random.Random, every_s: float
    ) -> None:
        """Something to some of them, until it is told to be quiet."""
        while not self.is_stopped:
            await self.publish(rng.sample(owners, min(BATCH_SIZE, len(owners))))
            await asyncio.sleep(every_s)

    async def delete_inbox(self, owner: str) -> None:
        """As if the window of an inbox had passed."""
        await self.redis.delete(inbox(owner), inbox_head(owner))


@asynccontextmanager
async def open_publisher(running: Fleet) -> AsyncIterator[Publisher]:
    """Somebody who says events, at the fleet's Redis."""
    async with open_redis(running.valkey.url) as clients:
        scripts = Scripts(clients.commands)
        await scripts.load()
        yield Publisher(clients, Inboxes(clients, scripts))


@asynccontextmanager
async def connect_listeners(
    running: Fleet, urls: Sequence[str], count: int, seed: int
) -> AsyncIterator[list[Listener]]:
    """So many listeners, each with an open line; they keep it until the block ends."""
    tally, rng = Counters(), random.Random(seed)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        def line(name: str, url: str, hear: Any) -> SocketClient:
            dial = ConnectionTarget(
                session, url, "/user", partial(running.token_signer.sign, "USER", name)
            )
            return SocketClient(dial, hear, tally, random.Random(rng.random()))

        listeners = [
            Listener(f"usr_{n}", partial(line, f"usr_{n}", urls[n % len(urls)]))
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
    """Wait until something holds, or until the deadline; how long that took."""
    began_s = time.perf_counter()
    # Nothing tells of events that do not come.
    while not condition() and time.perf_counter() < began_s + deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    return time.perf_counter() - began_s


def count_losses(listeners: Sequence[Listener], published: dict[str, int]) -> dict[str, int]:
    """What went wrong with the events that were said."""
    wanted = {each.owner: list(range(1, published.get(each.owner, 0) + 1)) for each in listeners}
    return {
        "events": sum(map(len, wanted.values())),
        "lost": sum(len(set(wanted[each.owner]) - set(each.received)) for each in listeners),
        "twice": sum(len(each.received) - len(set(each.received)) for each in listeners),
        "disordered": sum(each.received != sorted(each.received) for each in listeners),
        "resyncs": sum(each.resyncs for each in listeners),
    }
