"""Simulated node: the whole product on simulated stores, network and time."""

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
# Time after which an orchestrator restarts a server that failed to start.
RESTART_S = 1.0


class DyingDynamoClient:
    """DynamoDB client of one node, which may die after a write and before its answer."""

    def __init__(self, dynamo: FakeDynamo, node: "SimulatedNode") -> None:
        self._dynamo = dynamo
        self._node = node

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._dynamo, operation)

    async def transact_write_items(self, **request: Any) -> Any:
        """Execute the transaction; kill the node after it, if it is the commit to die after."""
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
    """A server that is restarted whenever it ends."""

    def __init__(
        self, name: str, settings: Settings, dynamo: FakeDynamo, event_log: EventLog
    ) -> None:
        self.name = name
        # Order commits after which the node dies; 0 means never.
        self.dies_after_commits = 0
        self.processes: list[SimulatedProcess] = []
        self._settings = settings
        self._dynamo = dynamo
        self._event_log = event_log
        self._process: SimulatedProcess | None = None
        self._killed = asyncio.Event()
        self._stop_requested = asyncio.Event()
        # Time until the next restart.
        self.downtime_s = RESTART_S

    async def run_and_restart(self, clock: Clock) -> None:
        """Run the server, and restart it whenever it ends."""
        while True:
            process = self._process = SimulatedProcess(self.name)
            self.processes.append(process)
            self._killed, self._stop_requested, self.dies_after_commits = (
                asyncio.Event(),
                asyncio.Event(),
                0,
            )
            context = contextvars.copy_context()
            context.run(CURRENT_PROCESS.set, process)
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._serve(clock), context=context)
            kill_wait = loop.create_task(self._killed.wait())
            await asyncio.wait([task, kill_wait], return_when=asyncio.FIRST_COMPLETED)
            kill_wait.cancel()
            if not process.has_ended:
                # It ended by itself; a process's connections end with it.
                reason = "stopped" if self._stop_requested.is_set() else repr(task.exception())
                self._event_log.record("node:" + self.name, "ended", reason=reason)
                _simulation_loop().kill(process)
            await asyncio.sleep(self.downtime_s)
            self.downtime_s = RESTART_S

    def kill(self) -> bool:
        """Kill the process, as `kill -9`; False if it was not running."""
        if self._process is None or self._process.has_ended:
            return False
        self._event_log.record("node:" + self.name, "killed")
        _simulation_loop().kill(self._process)
        self._killed.set()
        return True

    def stop(self) -> None:
        """Ask the process to stop in order, as by SIGTERM."""
        self._event_log.record("node:" + self.name, "asked to stop")
        self._stop_requested.set()

    async def _serve(self, clock: Clock) -> None:
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(open_redis(REDIS_URL))
            table = DynamoTable(DyingDynamoClient(self._dynamo, self), TABLE)
            scripts = Scripts(redis.commands)
            await _load_scripts(scripts)
            infrastructure = Infrastructure(
                self._settings, clock, table, redis, scripts, ids.new_id("node")
            )
            bound_socket: Any = BoundSocket(self.name)
            await run(infrastructure, bound_socket, self._stop_requested, self._on_ready)
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
