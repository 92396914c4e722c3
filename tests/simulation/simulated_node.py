"""One server of the town: the product as it is, on the town's stores, network and time."""

import asyncio
import contextvars
from contextlib import AsyncExitStack
from typing import Any

from dispatch import ids
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.settings import Settings
from dispatch.storage.redis_client import Scripts, open_redis
from handlers.app.infrastructure import Infrastructure
from handlers.app.server import run
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.fake import FakeDynamo
from tests.simulation.event_log import EventLog
from tests.simulation.memory_network import BoundSocket
from tests.simulation.simulation_loop import CURRENT_PROCESS, SimulatedProcess, SimulationLoop

TABLE = "reeyo"
REDIS_URL = "redis://redis:6379/0"
# An orchestrator starts a server that could not start again after this long.
RESTART_S = 1.0


class DyingDynamoClient:
    """The low-level client of one server, which may die with a write done and nothing said."""

    def __init__(self, dynamo: FakeDynamo, node: "SimulatedNode") -> None:
        self._dynamo = dynamo
        self._node = node

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._dynamo, operation)

    async def transact_write_items(self, **request: Any) -> Any:
        """As the fake's; an order's step may be the last thing the server does."""
        answer = await self._dynamo.transact_write_items(**request)
        if self._node.dies_after_commits and _is_order_commit(request):
            self._node.dies_after_commits -= 1
            if not self._node.dies_after_commits:
                self._node.kill()
                await asyncio.get_running_loop().create_future()
        return answer


def _is_order_commit(request: dict[str, Any]) -> bool:
    puts = [part["Put"]["Item"] for part in request["TransactItems"] if "Put" in part]
    return any(item["PK"]["S"].startswith("OUTBOX#") for item in puts)


class SimulatedNode:
    """A server that is started again whenever it has ended."""

    def __init__(
        self, name: str, settings: Settings, dynamo: FakeDynamo, event_log: EventLog
    ) -> None:
        self.name = name
        # After so many steps of orders it dies; 0 is never.
        self.dies_after_commits = 0
        self.processes: list[SimulatedProcess] = []
        self._settings = settings
        self._dynamo = dynamo
        self._event_log = event_log
        self._process: SimulatedProcess | None = None
        self._killed = asyncio.Event()
        self._stop_requested = asyncio.Event()
        # How long it stays away after its next end.
        self.downtime_s = RESTART_S

    async def run_and_restart(self, clock: Clock) -> None:
        """Live, again and again."""
        while True:
            life = self._process = SimulatedProcess(self.name)
            self.processes.append(life)
            self._killed, self._stop_requested, self.dies_after_commits = (
                asyncio.Event(),
                asyncio.Event(),
                0,
            )
            context = contextvars.copy_context()
            context.run(CURRENT_PROCESS.set, life)
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._serve(clock), context=context)
            gone = loop.create_task(self._killed.wait())
            await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if not life.has_ended:
                # It ended by itself: its connections end with it.
                why = "stopped" if self._stop_requested.is_set() else repr(task.exception())
                self._event_log.record("node:" + self.name, "ended", why=why)
                _simulation_loop().kill(life)
            await asyncio.sleep(self.downtime_s)
            self.downtime_s = RESTART_S

    def kill(self) -> bool:
        """End it where it stands; False where it was not running."""
        if self._process is None or self._process.has_ended:
            return False
        self._event_log.record("node:" + self.name, "killed")
        _simulation_loop().kill(self._process)
        self._killed.set()
        return True

    def stop(self) -> None:
        """Ask it to end in order, as by SIGTERM."""
        self._event_log.record("node:" + self.name, "asked to stop")
        self._stop_requested.set()

    async def _serve(self, clock: Clock) -> None:
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(open_redis(REDIS_URL))
            table = DynamoTable(DyingDynamoClient(self._dynamo, self), TABLE)
            scripts = Scripts(redis.commands)
            await _load_scripts(scripts)
            basis = Infrastructure(
                self._settings, clock, table, redis, scripts, ids.new_id("node")
            )
            plug: Any = BoundSocket(self.name)
            await run(basis, plug, self._stop_requested, self._on_ready)
            await table.wait_for_transactions()

    def _on_ready(self) -> None:
        self._event_log.record("node:" + self.name, "ready")


def _simulation_loop() -> SimulationLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulationLoop)
    return loop


async def _load_scripts(scripts: Scripts) -> None:
    while True:
        try:
            return await scripts.load()
        except StoreUnavailable:
            await asyncio.sleep(RESTART_S)
