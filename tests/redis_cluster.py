"""A local Redis Cluster of three servers for tests, each with replicas where wanted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bench.common.harness import free_port
from tests.redis_process import HOST, START_S, RedisProcess
from tests.waiting import Until

SLOTS = 16_384
# The slots of each server: first and last, as `CLUSTER ADDSLOTSRANGE` takes them.
SLOT_RANGES = ((0, 5_460), (5_461, 10_922), (10_923, SLOTS - 1))
NODE_TIMEOUT_MS = 2_000


class Shard(RedisProcess):
    """One server of the cluster."""

    def __init__(self, folder: Path) -> None:
        # The default port of the cluster bus, 10,000 above, may be above the last port.
        self.bus = free_port()
        super().__init__(
            folder, "--save", "", "--cluster-enabled", "yes", "--cluster-port", str(self.bus),
            "--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--repl-diskless-sync-delay", "0",
        )  # fmt: skip

    async def node_id(self) -> str:
        """Its name in the cluster."""
        raw = await self.client.execute_command("CLUSTER MYID")
        return raw.decode() if isinstance(raw, bytes) else str(raw)


class LocalCluster:
    """The servers of the cluster: `shards` hold the slots at first, `replicas` follow them."""

    def __init__(self, shards: Sequence[Shard], replicas: Sequence[Shard] = ()) -> None:
        self.shards = shards
        self.replicas = replicas

    @property
    def servers(self) -> list[Shard]:
        """All servers."""
        return [*self.shards, *self.replicas]

    @property
    def url(self) -> str:
        """The cluster's URL for `open_redis`."""
        return f"redis+cluster://{HOST}:{self.shards[0].port}"

    async def form_cluster(self, until: Until) -> None:
        """Join the servers into one cluster."""
        for server in self.servers:
            await server.start()
        first = self.shards[0]
        for shard, (start, end) in zip(self.shards, SLOT_RANGES, strict=True):
            await shard.client.execute_command("CLUSTER ADDSLOTSRANGE", start, end)
        for server in self.servers:
            await server.client.execute_command("CLUSTER MEET", HOST, first.port, first.bus)
        for server in self.servers:
            await until.eventually(lambda each=server: self.is_ok(each), START_S)
        for at, replica in enumerate(self.replicas):
            primary = await self.shards[at % len(self.shards)].node_id()
            await replica.client.execute_command("CLUSTER REPLICATE", primary)
        for replica in self.replicas:
            await until.eventually(replica.is_synced, START_S)

    async def is_ok(self, server: Shard) -> bool:
        """Whether a server sees all others and finds every slot served."""
        reply = await server.client.execute_command("CLUSTER INFO")
        info = reply if isinstance(reply, dict) else {}
        is_complete = info.get("cluster_known_nodes") == str(len(self.servers))
        return info.get("cluster_state") == "ok" and is_complete

    async def move_slot(self, slot: int, to: Shard) -> None:
        """Assign an empty slot to another server, as a reshard does at its end."""
        name = await to.node_id()
        others = [each for each in self.shards if each is not to]
        for shard in (to, *others):
            await shard.client.execute_command("CLUSTER SETSLOT", slot, "NODE", name)

    def shard_for(self, slot: int) -> Shard:
        """The server that holds a slot at first."""
        [at] = [at for at, (start, end) in enumerate(SLOT_RANGES) if start <= slot <= end]
        return self.shards[at]


@asynccontextmanager
async def start_cluster(folder: Path, *, has_replicas: bool = False) -> AsyncIterator[LocalCluster]:
    """Run a cluster of three for as long as the block, each server with one replica if wanted."""
    shards = [Shard(folder / f"shard{at}") for at in range(len(SLOT_RANGES))]
    count = len(SLOT_RANGES) if has_replicas else 0
    opened = LocalCluster(shards, [Shard(folder / f"replica{at}") for at in range(count)])
    try:
        await opened.form_cluster(Until())
        yield opened
    finally:
        await asyncio.gather(*(server.close() for server in opened.servers))
