"""Apps that listen to numbered events through real sockets, and come back where they stopped."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp

from city.client.socket_client import Dial, Line
from city.demo.counters import Tally
from dispatch.events.inbox import Inboxes, Letter
from dispatch.keys import identity, inbox, inbox_head
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from tests.e2e.fleet import Fleet, cancel

# Events of one round go to as many inboxes as one relay carries.
ROUND = 64
LOOK_S = 0.02


class Listener:
    """One customer's app; each durable event that it has shown, by its number."""

    def __init__(self, name: str, line: Callable[[Any], Line]) -> None:
        self.name = name
        self.owner = identity("user", name)
        self.heard: list[int] = []
        self.resyncs = 0
        self.line = line(self._hear)

    def _hear(self, event: str, body: dict[str, Any]) -> None:
        if event == "resync":
            self.resyncs += 1
        elif event == "order_preparing":
            self.heard.append(body["version"])


class Publisher:
    """Says numbered events to the listeners, as the relay of an outbox would."""

    def __init__(self, clients: RedisClients, inboxes: Inboxes) -> None:
        self.redis = clients.commands
        self._inboxes = inboxes
        self.said: dict[str, int] = {}
        # Whoever is cancelled does not know whether his last words were heard.
        self.is_quiet = False

    async def say(self, owners: Sequence[str]) -> None:
        """The next event of each of these."""
        letters = []
        for owner in owners:
            number = self.said[owner] = self.said.get(owner, 0) + 1
            body = f'{{"orderId":"ord_1","version":{number}}}'
            letters.append(Letter(owner, f"{owner}-{number}", "order_preparing", body))
        await self._inboxes.append(letters, int(time.time() * 1000))

    async def keep_saying(self, owners: Sequence[str], rng: random.Random, every_s: float) -> None:
        """Something to some of them, until it is told to be quiet."""
        while not self.is_quiet:
            await self.say(rng.sample(owners, min(ROUND, len(owners))))
            await asyncio.sleep(every_s)

    async def forget(self, owner: str) -> None:
        """As if the window of an inbox had passed."""
        await self.redis.delete(inbox(owner), inbox_head(owner))


@asynccontextmanager
async def publishing(running: Fleet) -> AsyncIterator[Publisher]:
    """Somebody who says events, at the fleet's Redis."""
    async with open_redis(running.valkey.url) as clients:
        scripts = Scripts(clients.commands)
        await scripts.load()
        yield Publisher(clients, Inboxes(clients, scripts))


@asynccontextmanager
async def listening(
    running: Fleet, urls: Sequence[str], count: int, seed: int
) -> AsyncIterator[list[Listener]]:
    """So many listeners, each with an open line; they keep it until the block ends."""
    tally, rng = Tally(), random.Random(seed)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        def line(name: str, url: str, hear: Any) -> Line:
            dial = Dial(session, url, "/user", partial(running.office.sign, "USER", name))
            return Line(dial, hear, tally, random.Random(rng.random()))

        listeners = [
            Listener(f"usr_{n}", partial(line, f"usr_{n}", urls[n % len(urls)]))
            for n in range(count)
        ]
        tasks = [asyncio.ensure_future(listener.line.run()) for listener in listeners]
        try:
            for listener in listeners:
                await listener.line.opened()
            yield listeners
        finally:
            for task in tasks:
                await cancel(task)


async def wait_for(holds: Callable[[], bool], deadline_s: float) -> float:
    """Wait until something holds, or until the deadline; how long that took."""
    began_s = time.perf_counter()
    # Nothing tells of events that do not come.
    while not holds() and time.perf_counter() < began_s + deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)
    return time.perf_counter() - began_s


def losses(listeners: Sequence[Listener], said: dict[str, int]) -> dict[str, int]:
    """What went wrong with the events that were said."""
    wanted = {each.owner: list(range(1, said.get(each.owner, 0) + 1)) for each in listeners}
    return {
        "events": sum(map(len, wanted.values())),
        "lost": sum(len(set(wanted[each.owner]) - set(each.heard)) for each in listeners),
        "twice": sum(len(each.heard) - len(set(each.heard)) for each in listeners),
        "disordered": sum(each.heard != sorted(each.heard) for each in listeners),
        "resyncs": sum(each.resyncs for each in listeners),
    }
