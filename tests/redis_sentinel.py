"""A local primary with a replica, watched by three sentinels, for tests."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from tests.redis_process import HOST, START_S, RedisPair, RedisProcess, start_pair
from tests.waiting import Until

SERVICE = "main"
SENTINELS, QUORUM = 3, 2
# How long the primary is silent before the sentinels replace it.
DOWN_AFTER_MS = 1_000


class SentinelGroup:
    """The sentinels and the pair they watch."""

    def __init__(self, pair: RedisPair, sentinels: Sequence[RedisProcess]) -> None:
        self.pair = pair
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        """The URL for `open_redis`."""
        addresses = ",".join(f"{HOST}:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{addresses}/{SERVICE}/0"

    async def primary_port(self) -> int | None:
        """Where the sentinels that answer say that the primary is; None where they differ."""
        ports = set[int]()
        for each in self.sentinels:
            with suppress(RedisError, OSError):
                found = await each.client.execute_command(
                    "SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE
                )
                ports.add(int(found[1]))
        return ports.pop() if len(ports) == 1 else None

    async def has_switched(self) -> bool:
        """Whether the sentinels name the former replica."""
        return await self.primary_port() == self.pair.replica.port


@asynccontextmanager
async def start_sentinels(folder: Path) -> AsyncIterator[SentinelGroup]:
    """Run a pair and its sentinels for as long as the block."""
    async with start_pair(folder) as pair:
        sentinels = [_make_sentinel(folder / f"sentinel{at}", pair) for at in range(SENTINELS)]
        try:
            for each in sentinels:
                await each.start()
            group = SentinelGroup(pair, sentinels)
            await Until().eventually(lambda: _know_each_other(group), START_S)
            yield group
        finally:
            for each in sentinels:
                await each.close()


def _make_sentinel(folder: Path, pair: RedisPair) -> RedisProcess:
    folder.mkdir(parents=True)
    # The server rewrites its file.
    config = folder / "sentinel.conf"
    config.write_text(
        f"sentinel monitor {SERVICE} {HOST} {pair.primary.port} {QUORUM}\n"
        f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
        f"sentinel failover-timeout {SERVICE} 3000\n"
    )
    return RedisProcess(folder, "--sentinel", config=config)


async def _know_each_other(group: SentinelGroup) -> bool:
    for each in group.sentinels:
        state: Any = await each.client.sentinel_master(SERVICE)
        if state["num-other-sentinels"] < SENTINELS - 1 or not state["num-slaves"]:
            return False
    return True
