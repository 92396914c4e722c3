"""One run of the simulation: servers, clients and faults on one clock, until all orders end."""

import asyncio
import random
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

import structlog

from dispatch.settings import Settings
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.fake import FakeDynamo, FaultInjector, Latencies
from ledger.dynamodb.schema import ensure_table
from tests.simulation import determinism, planted_bugs
from tests.simulation.actors import Behaviour, Customer, Rider, Tablet, Vendor
from tests.simulation.event_log import EventLog
from tests.simulation.evidence import Evidence
from tests.simulation.fake_redis import FakeRedis
from tests.simulation.fault_schedule import FaultSchedule, FaultTargets
from tests.simulation.simulated_client import SECRET, ServerPool, SimulatedClient
from tests.simulation.simulated_node import TABLE, SimulatedNode
from tests.simulation.simulation_loop import SimulationLoop
from tests.virtual_time import START_MS

NODES = 3
# Batch interval; short, as all waits are here.
BATCH_EVERY_MS = 2_000
# Source: docs/promises.md, all orders have ended within a minute of the last fault.
SETTLE_TIMEOUT_S = 60.0
# For events still in flight when the last order has ended.
FINAL_EVENTS_S = 8.0
# The phase of faults ends even if orders are stuck in it, and so does the final reading.
FAULT_PHASE_S, FAULT_PHASE_S_PER_ORDER = 120.0, 12.0
COLLECT_S = 120.0
TERMINAL = ("FUNDS_DISTRIBUTED", "REJECTED", "CANCELLED")


class Options(NamedTuple):
    """Everything that a run depends on."""

    seed: int
    orders: int
    faults: tuple[str, ...] = ()
    planted_bug: str | None = None
    # The matching mode, as an operator sets it.
    mode: str = "offers"


class Outcome(NamedTuple):
    """Result of a run. Units: virtual seconds."""

    event_log: EventLog
    evidence: Evidence
    seconds: float
    faults: dict[str, int]
    # Calls to DynamoDB, from the first order to the end of the last.
    dynamodb_calls: int


def run_simulation(options: Options) -> Outcome:
    """Run the simulation once."""
    loop = SimulationLoop()
    simulation = SimulationRun(options, loop)
    with ExitStack() as stack:
        stack.enter_context(determinism.deterministic(options.seed, loop.clock))
        stack.enter_context(planted_bugs.planted_bug(options.planted_bug))
        stack.enter_context(_record_logged_errors(simulation.event_log))
        loop.set_exception_handler(simulation.record_failure)
        runner = stack.enter_context(asyncio.Runner(loop_factory=lambda: loop))
        outcome = runner.run(simulation.run())
        # The killed processes' tasks end in order, unobserved.
        for process in [
            process for node in simulation.nodes for process in node.processes if process.has_ended
        ]:
            loop.release_killed(process)
    return outcome


class SimulationRun:
    """Builds and runs one simulation."""

    def __init__(self, options: Options, loop: SimulationLoop) -> None:
        self.options = options
        self.event_log = EventLog(loop.clock)
        self.faults = FaultSchedule(options.seed, options.faults, self.event_log)
        self.nodes: list[SimulatedNode] = []
        self._loop = loop
        self._rng = random.Random(f"run/{options.seed}")
        self._behaviour = Behaviour()
        self._clients: list[SimulatedClient] = []
        self._item_versions: list[tuple[float, tuple[str, str], Any]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._begun_orders = 0
        self._all_begun = asyncio.Event()
        self._faults_end_s = 0.0
        self._dynamodb_calls = 0

    def record_failure(self, _loop: Any, context: dict[str, Any]) -> None:
        """Log an exception that nothing handled, as an error."""
        error = _format_error(context.get("exception"))
        self.event_log.record("log", "error", event=context["message"], error=error)

    async def run(self) -> Outcome:
        """Start servers and clients, run the orders under faults, and collect the evidence."""
        loop = self._loop
        loop.network.latency_s = self.faults.latency_s
        self._redis = FakeRedis(loop.network)
        await self._redis.start()
        await self._open_table()
        self._exchange = ServerPool([f"node{number}" for number in range(NODES)])
        self._start_nodes()
        try:
            clients = await self._start_people()
            await self._run_orders(clients)
            return await self._collect_evidence(clients)
        finally:
            self.event_log.is_recording = False
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._exchange.close()

    async def _open_table(self) -> None:
        loop = self._loop
        latencies = Latencies(round_trip_s=0.006, hold_s=0.008, index_lag_s=0.2, spread=0.5)
        faults = FaultInjector(self.options.seed)
        self._dynamo = FakeDynamo(loop.time, asyncio.sleep, latencies, faults)
        await ensure_table(DynamoTable(self._dynamo, TABLE))
        items: Any = self._dynamo.tables[TABLE]
        put = items.put

        def put_and_record(key: tuple[str, str], item: Any, lag_s: float) -> None:
            put(key, item, lag_s)
            self._item_versions.append((loop.time(), key, item))

        items.put = put_and_record

    def _start_nodes(self) -> None:
        settings = Settings(
            jwt_secret=SECRET, redis_url="redis://redis:6379/0", dynamodb_endpoint="http://fake",
            dev=True, drain_spread_s=2.0,
        )  # fmt: skip
        for name in self._exchange.node_names:
            node = SimulatedNode(name, settings, self._dynamo, self.event_log)
            self.nodes.append(node)
            self._start_task(node.run_and_restart(self._loop.clock))

    async def _start_people(self) -> "People":
        counts = _population_sizes(self.options.orders)
        admin = self._start_client("ADMIN", "adm")
        for service in ("mart", "packages"):
            await admin.put(f"/admin/config/services/{service}", {"enabled": True})
        if self.options.mode != "offers":
            for service in ("food", "mart", "packages"):
                policy = {"mode": self.options.mode, "batchEveryMs": BATCH_EVERY_MS}
                await admin.put(f"/admin/config/offers/{service}", policy)
        vendors = [
            Vendor(
                self._start_client("VENDOR", f"v{n}"), self._behaviour, "FOOD" if n % 3 else "MART"
            )
            for n in range(counts[0])
        ]
        riders = [
            Rider(self._start_client("RIDER", f"r{n}"), self._behaviour) for n in range(counts[1])
        ]
        await asyncio.gather(*(vendor.open_shop() for vendor in vendors))
        for rider in riders:
            self._start_task(rider.run())
        # One rider has left a second phone somewhere.
        self._start_task(Tablet(self._start_client("RIDER", "r1/tablet")).run())
        customers = [
            Customer(self._start_client("USER", f"u{n}"), self._behaviour, vendors)
            for n in range(counts[2])
        ]
        await asyncio.sleep(2)
        return People(admin, vendors, riders, customers)

    async def _run_orders(self, clients: "People") -> None:
        before = self._dynamo.faults.calls
        targets = FaultTargets(self.nodes, self._redis, self._dynamo, self._clients[1:])
        fault_task = asyncio.create_task(self.faults.run(targets))
        order_numbers = iter(range(self.options.orders))
        order_tasks = [
            asyncio.create_task(self._place_orders(each, order_numbers))
            for each in clients.customers
        ]
        self._tasks += order_tasks
        with suppress(TimeoutError):
            async with asyncio.timeout(
                FAULT_PHASE_S + self.options.orders * FAULT_PHASE_S_PER_ORDER
            ):
                await self._all_begun.wait()
                await asyncio.sleep(self._rng.uniform(2, 10))
        self._behaviour.is_cooperative = self.faults.is_stopped = True
        await fault_task
        self._faults_end_s = self._loop.time()
        self.event_log.record("faults", "ended")
        for _ in range(round(SETTLE_TIMEOUT_S)):
            if not self._open_orders():
                break
            await asyncio.sleep(1)
        self._dynamodb_calls = self._dynamo.faults.calls - before
        await asyncio.sleep(FINAL_EVENTS_S)

    async def _place_orders(self, customer: Customer, order_numbers: Iterator[int]) -> None:
        for _ in order_numbers:
            self._begun_orders += 1
            if self._begun_orders == self.options.orders:
                self._all_begun.set()
            await customer.place_and_wait()
            await asyncio.sleep(customer.client.rng.uniform(0.5, 4))

    def _open_orders(self) -> int:
        """Number of orders in the table that have not ended."""
        return sum(
            item["status"]["S"] not in TERMINAL
            for (_, sk), item in self._dynamo.tables[TABLE].items.items()
            if sk == "METADATA" and "orderId" in item
        )

    async def _collect_evidence(self, clients: "People") -> Outcome:
        with suppress(TimeoutError):
            async with asyncio.timeout(COLLECT_S):
                for customer in clients.customers:
                    await customer.client.get("/orders?limit=100")
                for actor in (*clients.customers, *clients.riders, *clients.vendors):
                    await actor.client.get("/wallet/balance")
                await clients.admin.get("/admin/ledger/trial-balance")
        all_heads = {
            client.actor: self._redis.read_hash(f"inbox:{{{client.actor}}}:head")
            for client in self._clients
        }
        # An inbox of an earlier Redis run is no longer valid.
        heads = {
            actor: head
            for actor, head in all_heads.items()
            if head.get("run") == self._redis.run_id
        }
        self.event_log.record("run", "ended")
        evidence = Evidence(
            records=self.event_log.records,
            item_versions=self._item_versions,
            items=dict(sorted(self._dynamo.tables[TABLE].items.items())),
            inbox_heads=heads,
            faults_end_s=self._faults_end_s,
            start_ms=START_MS,
            settle_timeout_s=SETTLE_TIMEOUT_S,
        )
        faults = dict(sorted((self.faults.counts | _dynamo_faults(self._dynamo)).items()))
        return Outcome(self.event_log, evidence, self._loop.time(), faults, self._dynamodb_calls)

    def _start_client(self, user_type: str, user_id: str) -> SimulatedClient:
        client = SimulatedClient(user_type, user_id, self._exchange, self.event_log, self.faults)
        self._clients.append(client)
        self._start_task(client.run())
        return client

    def _start_task(self, coroutine: Any) -> None:
        self._tasks.append(self._loop.create_task(coroutine))


class People(NamedTuple):
    """The clients of a run."""

    admin: SimulatedClient
    vendors: list[Vendor]
    riders: list[Rider]
    customers: list[Customer]


def _population_sizes(orders: int) -> tuple[int, int, int]:
    """Numbers of vendors, riders and customers for a number of orders."""
    return max(3, orders // 12), max(4, min(40, orders // 4)), max(5, min(30, orders // 3))


def _dynamo_faults(dynamo: FakeDynamo) -> Counter[str]:
    return Counter({f"dynamo_{fault}": n for fault, n in dynamo.faults.counts.items()})


@contextmanager
def _record_logged_errors(event_log: EventLog) -> Iterator[None]:
    """Record the servers' error logs; drop the rest."""

    def record_and_drop(_logger: Any, level: str, event: Any) -> Any:
        if level in ("error", "critical"):
            error = event.get("exc_info")
            fields = {name: str(value) for name, value in event.items() if name != "exc_info"}
            event_log.record("log", level, **fields, error=_format_error(error))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.add_log_level, record_and_drop],
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _format_error(error: Any) -> str:
    """An error and the functions it came from, in the same text in every run."""
    if error is True:
        error = sys.exc_info()[1]
    if not isinstance(error, BaseException):
        return ""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return f"{error!r} in " + " < ".join(frame.name for frame in reversed(frames))
