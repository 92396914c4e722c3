"""Fault schedule: which faults occur, when and for how long, drawn from the seed and logged."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ledger.dynamodb.fake import FakeDynamo, Fault
from tests.simulation.event_log import EventLog
from tests.simulation.fake_redis import REDIS_HOST, FakeRedis
from tests.simulation.simulated_node import SimulatedNode

if TYPE_CHECKING:
    from tests.simulation.simulated_client import SimulatedClient

KINDS = ("messages", "cuts", "redis", "flush", "slow", "dynamo", "kills", "stops")
# Active from the first order until the faults end; not drawn with the others.
THROTTLED_KIND = "throttled"
# Mean time between the starts of two faults.
FAULT_EVERY_S = 3.5
# Shares of a client's messages that are lost, duplicated, or delayed and so reordered.
DROP_SHARE, REPEAT_SHARE, DELAY_SHARE = 0.04, 0.06, 0.06
DELAY_S_MAX = 1.5
# Source: docs/promises.md, DynamoDB throttled 30 %, replies lost 10 %.
THROTTLE_RATES = {Fault.THROTTLE: 0.3, Fault.LOSE_REPLY: 0.1}
DYNAMO_FAULT_RATES = {
    **THROTTLE_RATES,
    Fault.LOSE_REQUEST: 0.03,
    Fault.INTERNAL_ERROR_LATE: 0.02,
    Fault.CONFLICT: 0.03,
    Fault.DELAY: 0.03,
    Fault.PARTIAL_BATCH: 0.1,
}


class FaultSchedule:
    """The faults of one run; `kinds` are those that may occur."""

    def __init__(self, seed: int, kinds: tuple[str, ...], event_log: EventLog) -> None:
        unknown = set(kinds) - {*KINDS, THROTTLED_KIND}
        assert not unknown, f"no such faults: {sorted(unknown)}"
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.is_stopped = False
        self._kinds = kinds
        self._event_log = event_log
        self._rng = random.Random(f"faults/{seed}")
        self._message_rng = random.Random(f"messages/{seed}")
        self._redis_delay_s = 0.0

    # Faults of the network and the clients.

    def latency_s(self, sender: str, receiver: str, rng: random.Random) -> float:
        """Latency of the next bytes. Units: seconds."""
        if REDIS_HOST in (sender, receiver):
            return rng.uniform(0.0002, 0.001) + rng.random() * self._redis_delay_s
        return rng.uniform(0.005, 0.06)

    def copy_delays_s(self) -> list[float]:
        """Delay of each copy of a client's message; empty if it is lost. Units: seconds."""
        if "messages" not in self._kinds or self.is_stopped:
            return [0.0]
        drawn = self._message_rng.random()
        delay_s = self._message_rng.uniform(0, DELAY_S_MAX)
        if drawn < DROP_SHARE:
            self.counts["dropped"] += 1
            return []
        if drawn < DROP_SHARE + REPEAT_SHARE:
            self.counts["repeated"] += 1
            return [0.0, delay_s]
        if drawn < DROP_SHARE + REPEAT_SHARE + DELAY_SHARE:
            self.counts["late"] += 1
            return [delay_s]
        return [0.0]

    def drops_answer(self) -> bool:
        """Whether the next answer to a client is lost."""
        if "messages" not in self._kinds or self.is_stopped:
            return False
        is_lost = self._message_rng.random() < DROP_SHARE
        self.counts["dropped"] += is_lost
        return is_lost

    # Faults at random times.

    async def run(self, targets: "FaultTargets") -> None:
        """Inject faults until stopped."""
        injectors: dict[str, Callable[[FaultTargets], Awaitable[None]]] = {
            "cuts": self._disconnect_client,
            "redis": self._stop_redis,
            "flush": self._flush_redis,
            "slow": self._slow_redis,
            "dynamo": self._fail_dynamo,
            "kills": self._kill_node,
            "stops": self._stop_node,
        }
        kinds = [kind for kind in self._kinds if kind in injectors]
        tasks: list[asyncio.Task[None]] = []
        if THROTTLED_KIND in self._kinds:
            tasks.append(
                asyncio.create_task(self._inject(THROTTLED_KIND, self._throttle_dynamo(targets)))
            )
        while kinds and not self.is_stopped:
            await asyncio.sleep(self._rng.expovariate(1 / FAULT_EVERY_S))
            if self.is_stopped:
                break
            kind = self._rng.choice(kinds)
            tasks.append(asyncio.create_task(self._inject(kind, injectors[kind](targets))))
        await asyncio.gather(*tasks)
        for node in targets.nodes:
            node.dies_after_commits = 0

    async def _inject(self, kind: str, fault: Awaitable[None]) -> None:
        self.counts[kind] += 1
        self._event_log.record("faults", kind)
        await fault

    async def _disconnect_client(self, targets: "FaultTargets") -> None:
        client = self._rng.choice(targets.clients)
        is_long = self._rng.random() < 0.15
        offline_s = self._rng.uniform(20, 90) if is_long else self._rng.uniform(0, 4)
        client.is_offline = True
        client.drop_connection()
        await self._sleep_unless_stopped(offline_s)
        client.is_offline = False

    async def _stop_redis(self, targets: "FaultTargets") -> None:
        if targets.redis.is_down:
            return
        targets.redis.stop(loses_data=self._rng.random() < 0.2)
        await self._sleep_unless_stopped(self._rng.choice([1, 3, 6, 17]))
        await targets.redis.start()

    async def _flush_redis(self, targets: "FaultTargets") -> None:
        targets.redis.flush()

    async def _slow_redis(self, _targets: "FaultTargets") -> None:
        self._redis_delay_s = self._rng.choice([0.05, 0.3, 2.5])
        await self._sleep_unless_stopped(self._rng.uniform(1, 8))
        self._redis_delay_s = 0.0

    async def _fail_dynamo(self, targets: "FaultTargets") -> None:
        targets.dynamo.faults.rates = dict(DYNAMO_FAULT_RATES)
        await self._sleep_unless_stopped(self._rng.uniform(2, 20))
        targets.dynamo.faults.stop_random_faults()

    async def _throttle_dynamo(self, targets: "FaultTargets") -> None:
        targets.dynamo.faults.rates = dict(THROTTLE_RATES)
        while not self.is_stopped:
            await self._sleep_unless_stopped(1)
        targets.dynamo.faults.stop_random_faults()

    async def _kill_node(self, targets: "FaultTargets") -> None:
        node = self._rng.choice(targets.nodes)
        node.downtime_s = self._rng.uniform(0.5, 8)
        if self._rng.random() < 0.6:
            node.dies_after_commits = self._rng.randint(1, 4)
        else:
            node.kill()

    async def _stop_node(self, targets: "FaultTargets") -> None:
        self._rng.choice(targets.nodes).stop()

    async def _sleep_unless_stopped(self, seconds: float) -> None:
        """Sleep, but not longer than until the faults end."""
        for _ in range(round(seconds * 10)):
            if self.is_stopped:
                return
            await asyncio.sleep(0.1)


class FaultTargets:
    """The parts of a simulation that faults are injected into."""

    def __init__(
        self,
        nodes: list[SimulatedNode],
        redis: FakeRedis,
        dynamo: FakeDynamo,
        clients: "list[SimulatedClient]",
    ) -> None:
        self.nodes = nodes
        self.redis = redis
        self.dynamo = dynamo
        self.clients = clients
