"""What goes wrong in the town, when, and for how long: drawn from the seed, noted in the diary."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from ledger.dynamodb.fake import FakeDynamo, Fault
from tests.simulation.event_log import Diary
from tests.simulation.fake_server import HOST, StandIn
from tests.simulation.server import Node

KINDS = ("messages", "cuts", "redis", "flush", "slow", "dynamo", "kills", "stops")
# From the first order until it is calm, and not drawn with the others.
STEADY = "throttled"
# Between two faults that begin, on average.
EVERY_S = 3.5
# Shares of a client's messages that get lost, come twice, or come late and so out of order.
DROPPED, REPEATED, LATE = 0.04, 0.06, 0.06
LATE_S_MAX = 1.5
# Source: promises, DynamoDB throttled 30 %, replies lost 10 %.
THROTTLED = {Fault.THROTTLE: 0.3, Fault.LOSE_REPLY: 0.1}
TROUBLES = {
    **THROTTLED,
    Fault.LOSE_REQUEST: 0.03,
    Fault.BREAK_LATE: 0.02,
    Fault.CONFLICT: 0.03,
    Fault.DELAY: 0.03,
    Fault.PARTIAL: 0.1,
}


class Weather:
    """The faults of one run; `kinds` says which there may be."""

    def __init__(self, seed: int, kinds: tuple[str, ...], diary: Diary) -> None:
        unknown = set(kinds) - {*KINDS, STEADY}
        assert not unknown, f"no such faults: {sorted(unknown)}"
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.is_calm = False
        self._kinds = kinds
        self._diary = diary
        self._chance = random.Random(f"weather/{seed}")
        self._messages = random.Random(f"messages/{seed}")
        self._slow_s = 0.0

    # What the network and the phones ask.

    def way_s(self, near: str, far: str, chance: random.Random) -> float:
        """How long the way of the next bytes is."""
        if HOST in (near, far):
            return chance.uniform(0.0002, 0.001) + chance.random() * self._slow_s
        return chance.uniform(0.005, 0.06)

    def copies(self) -> list[float]:
        """How late each copy of a client's message is; none where it is lost. Units: seconds."""
        if "messages" not in self._kinds or self.is_calm:
            return [0.0]
        drawn = self._messages.random()
        late_s = self._messages.uniform(0, LATE_S_MAX)
        if drawn < DROPPED:
            self.counts["dropped"] += 1
            return []
        if drawn < DROPPED + REPEATED:
            self.counts["repeated"] += 1
            return [0.0, late_s]
        if drawn < DROPPED + REPEATED + LATE:
            self.counts["late"] += 1
            return [late_s]
        return [0.0]

    def drops(self) -> bool:
        """Whether an answer on its way to a client is lost."""
        if "messages" not in self._kinds or self.is_calm:
            return False
        is_lost = self._messages.random() < DROPPED
        self.counts["dropped"] += is_lost
        return is_lost

    # What happens by itself.

    async def run(self, town: "Struck") -> None:
        """Strike until it is told to be calm."""
        acts: dict[str, Callable[[Struck], Awaitable[None]]] = {
            "cuts": self._cut, "redis": self._redis_away, "flush": self._flush,
            "slow": self._slow, "dynamo": self._trouble, "kills": self._kill, "stops": self._stop,
        }  # fmt: skip
        kinds = [kind for kind in self._kinds if kind in acts]
        strikes: list[asyncio.Task[None]] = []
        if STEADY in self._kinds:
            strikes.append(asyncio.create_task(self._strike(STEADY, self._throttle(town))))
        while kinds and not self.is_calm:
            await asyncio.sleep(self._chance.expovariate(1 / EVERY_S))
            if self.is_calm:
                break
            kind = self._chance.choice(kinds)
            strikes.append(asyncio.create_task(self._strike(kind, acts[kind](town))))
        await asyncio.gather(*strikes)
        for node in town.nodes:
            node.dies_after = 0

    async def _strike(self, kind: str, act: Awaitable[None]) -> None:
        self.counts[kind] += 1
        self._diary.note("weather", kind)
        await act

    async def _cut(self, town: "Struck") -> None:
        phone = self._chance.choice(town.phones)
        is_long = self._chance.random() < 0.15
        away_s = self._chance.uniform(20, 90) if is_long else self._chance.uniform(0, 4)
        phone.is_off = True
        phone.cut()
        await self._rest(away_s)
        phone.is_off = False

    async def _redis_away(self, town: "Struck") -> None:
        if town.redis.is_away:
            return
        town.redis.stop(forgets=self._chance.random() < 0.2)
        await self._rest(self._chance.choice([1, 3, 6, 17]))
        await town.redis.start()

    async def _flush(self, town: "Struck") -> None:
        town.redis.flush()

    async def _slow(self, _town: "Struck") -> None:
        self._slow_s = self._chance.choice([0.05, 0.3, 2.5])
        await self._rest(self._chance.uniform(1, 8))
        self._slow_s = 0.0

    async def _trouble(self, town: "Struck") -> None:
        town.dynamo.faults.rates = dict(TROUBLES)
        await self._rest(self._chance.uniform(2, 20))
        town.dynamo.faults.stop()

    async def _throttle(self, town: "Struck") -> None:
        town.dynamo.faults.rates = dict(THROTTLED)
        while not self.is_calm:
            await self._rest(1)
        town.dynamo.faults.stop()

    async def _kill(self, town: "Struck") -> None:
        node = self._chance.choice(town.nodes)
        node.away_s = self._chance.uniform(0.5, 8)
        if self._chance.random() < 0.6:
            node.dies_after = self._chance.randint(1, 4)
        else:
            node.kill()

    async def _stop(self, town: "Struck") -> None:
        self._chance.choice(town.nodes).stop()

    async def _rest(self, seconds: float) -> None:
        """Wait, but not longer than until it is calm."""
        for _ in range(round(seconds * 10)):
            if self.is_calm:
                return
            await asyncio.sleep(0.1)


class Struck:
    """What the weather strikes."""

    def __init__(
        self, nodes: list[Node], redis: StandIn, dynamo: FakeDynamo, phones: list[Any]
    ) -> None:
        self.nodes = nodes
        self.redis = redis
        self.dynamo = dynamo
        self.phones = phones
