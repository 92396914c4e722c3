"""Redis that fails over in three ways: behind a name that moves, with Sentinel, as a cluster."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol

from redis.crc import key_slot
from redis.exceptions import RedisError

from tests.redis_cluster import LocalCluster, Shard, start_cluster
from tests.redis_process import RedisPair, RedisProcess, start_pair
from tests.redis_sentinel import SentinelGroup, start_sentinels
from tests.tcp_switch import TcpSwitch, start_switch
from tests.waiting import Until

# Far above what a failover or a repair takes, on a busy machine too.
WHOLE_S_MAX = 90.0
POLL_S = 0.02


class FailingRedis(Protocol):
    """A Redis whose primary can be lost."""

    url: str

    async def fail_over(self) -> float:
        """Lose the primary; when another one takes writes and can be found.

        Units: seconds of `time.perf_counter`.
        """
        ...

    async def repair(self) -> None:
        """Make the lost server a replica, with all that the new primary has."""
        ...

    def is_affected(self, key: str) -> bool:
        """Whether a key lay at the server that was lost last."""
        ...


class MovingName:
    """A primary behind a name that leads to its replica afterwards."""

    def __init__(self, pair: RedisPair, switch: TcpSwitch) -> None:
        self._pair = pair
        self._switch = switch
        self._ways = cycle((self._demote, self._pause, self._lose_packets))
        self.url = switch.url

    async def fail_over(self) -> float:
        """Promote the replica; the old primary is demoted, stands still or is cut off, in turn."""
        await next(self._ways)()
        self._switch.target = self._pair.primary.port
        return time.perf_counter()

    async def _demote(self) -> None:
        await self._pair.fail_over()

    async def _pause(self) -> None:
        self._pair.primary.pause()
        await self._swap()

    async def _lose_packets(self) -> None:
        self._switch.lose_packets(self._pair.primary.port)
        await self._swap()

    async def _swap(self) -> None:
        pair = self._pair
        await pair.replica.promote()
        pair.primary, pair.replica = pair.replica, pair.primary

    async def repair(self) -> None:
        """Let the old primary follow the new one."""
        self._switch.find_packets()
        self._pair.replica.resume()
        await self._pair.replica.follow(self._pair.primary)
        await self._pair.wait_synced()

    def is_affected(self, key: str) -> bool:
        """All keys are at one server."""
        return True


class SentinelRedis:
    """A primary that the sentinels replace."""

    def __init__(self, group: SentinelGroup) -> None:
        self._group = group
        self._ways = cycle((RedisProcess.kill, RedisProcess.pause))
        self.url = group.url

    async def fail_over(self) -> float:
        """Kill or pause the primary, in turn, and wait until the sentinels name the replica."""
        next(self._ways)(self._group.pair.primary)
        await _wait_until(self._group.has_switched)
        return time.perf_counter()

    async def repair(self) -> None:
        """Bring the old primary back; the sentinels make it a replica."""
        pair = self._group.pair
        pair.primary, pair.replica = pair.replica, pair.primary
        await pair.replica.restart()
        await pair.wait_synced()

        async def is_watched() -> bool:
            states: list[Any] = [
                await each.client.sentinel_master("main") for each in self._group.sentinels
            ]
            return all(each["flags"] == "master" for each in states)

        await _wait_until(is_watched)

    def is_affected(self, key: str) -> bool:
        """All keys are at one server."""
        return True


class ClusterRedis:
    """A cluster of three primaries with a replica each, of which one primary is killed."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self.url = cluster.url
        self._turns = cycle(range(len(cluster.shards)))
        self._lost: Shard | None = None
        self._lost_slots: list[tuple[int, int]] = []

    async def fail_over(self) -> float:
        """Kill the primary of each third of the slots, in turn; when the cluster is whole again."""
        at = next(self._turns)
        lost = self._lost = await self._primary_of(at * 5_461)
        self._lost_slots = await self._slots_of(lost)
        lost.kill()

        async def is_whole() -> bool:
            others = [each for each in self._cluster.servers if each is not lost]
            for each in others:
                ranges = await each.client.execute_command("CLUSTER SLOTS")
                if any(int(entry[1]) == lost.port for entry in _primaries(ranges)):
                    return False
                info: Any = await each.client.execute_command("CLUSTER INFO")
                if info["cluster_state"] != "ok":
                    return False
            return True

        await _wait_until(is_whole)
        return time.perf_counter()

    async def repair(self) -> None:
        """Bring the killed server back; it becomes a replica of its successor."""
        assert self._lost is not None, "a server was killed"
        await self._lost.restart()
        await _wait_until(self._lost.is_synced)

    def is_affected(self, key: str) -> bool:
        """Whether the key's slot lay at the server that was killed."""
        slot = key_slot(key.encode())
        return any(start <= slot <= end for start, end in self._lost_slots)

    async def _primary_of(self, slot: int) -> Shard:
        ranges = await self._any_client().execute_command("CLUSTER SLOTS")
        [port] = [
            int(primary[1]) for start, end, primary in _ranges(ranges) if start <= slot <= end
        ]
        return next(each for each in self._cluster.servers if each.port == port)

    async def _slots_of(self, shard: Shard) -> list[tuple[int, int]]:
        ranges = await self._any_client().execute_command("CLUSTER SLOTS")
        return [(s, e) for s, e, primary in _ranges(ranges) if int(primary[1]) == shard.port]

    def _any_client(self) -> Any:
        return self._cluster.shards[0].client


def _ranges(reply: Any) -> list[tuple[int, int, Any]]:
    """First slot, last slot and primary of each range, whichever way the client parsed them."""
    if isinstance(reply, dict):
        return [(start, end, found["primary"]) for (start, end), found in reply.items()]
    return [(int(entry[0]), int(entry[1]), entry[2]) for entry in reply]


def _primaries(reply: Any) -> list[Any]:
    return [primary for _, _, primary in _ranges(reply)]


async def _wait_until(condition: Callable[[], Any]) -> None:
    async def check() -> bool:
        with suppress(RedisError, OSError):
            return bool(await condition())
        return False

    await Until().eventually(check, WHOLE_S_MAX, POLL_S)


@asynccontextmanager
async def moving_name(folder: Path) -> AsyncIterator[FailingRedis]:
    """A primary and its replica behind a switch."""
    async with start_pair(folder) as pair, start_switch(pair.primary.port) as switch:
        yield MovingName(pair, switch)


@asynccontextmanager
async def sentinel_redis(folder: Path) -> AsyncIterator[FailingRedis]:
    """A primary, its replica and three sentinels."""
    async with start_sentinels(folder) as group:
        yield SentinelRedis(group)


@asynccontextmanager
async def cluster_redis(folder: Path) -> AsyncIterator[FailingRedis]:
    """Three primaries with a replica each."""
    async with start_cluster(folder, has_replicas=True) as cluster:
        yield ClusterRedis(cluster)


MODES: dict[str, Callable[[Path], AbstractAsyncContextManager[FailingRedis]]] = {
    "proxy": moving_name,
    "sentinel": sentinel_redis,
    "cluster": cluster_redis,
}
