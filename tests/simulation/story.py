"""One run of the town: servers, people and weather on one clock, until everything has ended."""

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
from ledger.dynamodb.fake import FakeDynamo, Faults, Pace
from ledger.dynamodb.schema import ensure_table
from tests.simulation import determinism, planted_faults
from tests.simulation.actors import Customer, Manners, Rider, Vendor
from tests.simulation.event_log import Diary
from tests.simulation.evidence import Evidence
from tests.simulation.fake_server import StandIn
from tests.simulation.faults import Struck, Weather
from tests.simulation.phone import SECRET, Exchange, Phone
from tests.simulation.server import TABLE, Node
from tests.simulation.virtual_loop import TownLoop
from tests.virtual_time import START_MS

NODES = 3
# In the town everything is quick.
BATCH_EVERY_MS = 2_000
# Source: promises, all orders are terminal within a minute of the last fault.
PATIENCE_S = 60.0
# For what is on its way when the last order has ended.
SETTLING_S = 8.0
# A storm ends even where orders got stuck in it, and so does the reading of what is left.
STORM_S, STORM_S_PER_ORDER = 120.0, 12.0
GATHER_S = 120.0
TERMINAL = ("FUNDS_DISTRIBUTED", "REJECTED", "CANCELLED")


class Options(NamedTuple):
    """What a run depends on, and on nothing else."""

    seed: int
    orders: int
    faults: tuple[str, ...] = ()
    plant: str | None = None
    # How orders meet riders, as an operator sets it.
    mode: str = "offers"


class Outcome(NamedTuple):
    """What a run left behind. Units: virtual seconds."""

    diary: Diary
    evidence: Evidence
    seconds: float
    faults: dict[str, int]
    # To DynamoDB, from the first order to the end of the last.
    calls: int


def tell(options: Options) -> Outcome:
    """Run the town once."""
    loop = TownLoop()
    story = Story(options, loop)
    with ExitStack() as stack:
        stack.enter_context(determinism.given(options.seed, loop.clock))
        stack.enter_context(planted_faults.planted(options.plant))
        stack.enter_context(_heard_by(story.diary))
        loop.set_exception_handler(story.note_failure)
        runner = stack.enter_context(asyncio.Runner(loop_factory=lambda: loop))
        outcome = runner.run(story.run())
        # What the killed have left ends in order, unseen.
        for life in [life for node in story.nodes for life in node.lives if life.is_over]:
            loop.bury(life)
    return outcome


class Story:
    """The parts of one run."""

    def __init__(self, options: Options, loop: TownLoop) -> None:
        self.options = options
        self.diary = Diary(loop.clock)
        self.weather = Weather(options.seed, options.faults, self.diary)
        self.nodes: list[Node] = []
        self._loop = loop
        self._chance = random.Random(f"story/{options.seed}")
        self._manners = Manners()
        self._phones: list[Phone] = []
        self._history: list[tuple[float, tuple[str, str], Any]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._wanted = 0
        self._all_wanted = asyncio.Event()
        self._calm_s = 0.0
        self._calls = 0

    def note_failure(self, _loop: Any, context: dict[str, Any]) -> None:
        """What nobody caught is an error as well."""
        error = _told(context.get("exception"))
        self.diary.note("log", "error", event=context["message"], error=error)

    async def run(self) -> Outcome:
        """Build the town, live in it, and gather what there is to judge."""
        loop = self._loop
        loop.network.ways = self.weather.way_s
        self._redis = StandIn(loop.network)
        await self._redis.start()
        await self._open_table()
        self._exchange = Exchange([f"node{number}" for number in range(NODES)])
        self._serve()
        try:
            people = await self._settle_in()
            await self._live(people)
            return await self._gather(people)
        finally:
            self.diary.is_open = False
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._exchange.close()

    async def _open_table(self) -> None:
        loop = self._loop
        pace = Pace(round_trip_s=0.006, hold_s=0.008, index_lag_s=0.2, spread=0.5)
        faults = Faults(self.options.seed)
        self._dynamo = FakeDynamo(loop.time, asyncio.sleep, pace, faults)
        await ensure_table(DynamoTable(self._dynamo, TABLE))
        shelves: Any = self._dynamo.tables[TABLE]
        put = shelves.put

        def watched(place: tuple[str, str], image: Any, lag_s: float) -> None:
            put(place, image, lag_s)
            self._history.append((loop.time(), place, image))

        shelves.put = watched

    def _serve(self) -> None:
        settings = Settings(
            jwt_secret=SECRET, redis_url="redis://redis:6379/0", dynamodb_endpoint="http://fake",
            dev=True, drain_spread_s=2.0,
        )  # fmt: skip
        for name in self._exchange.names:
            node = Node(name, settings, self._dynamo, self.diary)
            self.nodes.append(node)
            self._start(node.run(self._loop.clock))

    async def _settle_in(self) -> "People":
        counts = _sizes(self.options.orders)
        admin = self._phone("ADMIN", "adm")
        for service in ("mart", "packages"):
            await admin.put(f"/admin/config/services/{service}", {"enabled": True})
        if self.options.mode != "offers":
            for service in ("food", "mart", "packages"):
                how = {"mode": self.options.mode, "batchEveryMs": BATCH_EVERY_MS}
                await admin.put(f"/admin/config/offers/{service}", how)
        shops = [
            Vendor(self._phone("VENDOR", f"v{n}"), self._manners, "FOOD" if n % 3 else "MART")
            for n in range(counts[0])
        ]
        riders = [Rider(self._phone("RIDER", f"r{n}"), self._manners) for n in range(counts[1])]
        await asyncio.gather(*(shop.open() for shop in shops))
        for rider in riders:
            self._start(rider.run())
        guests = [
            Customer(self._phone("USER", f"u{n}"), self._manners, shops) for n in range(counts[2])
        ]
        await asyncio.sleep(2)
        return People(admin, shops, riders, guests)

    async def _live(self, people: "People") -> None:
        before = self._dynamo.faults.calls
        struck = Struck(self.nodes, self._redis, self._dynamo, self._phones[1:])
        strikes = asyncio.create_task(self.weather.run(struck))
        left = iter(range(self.options.orders))
        guests = [asyncio.create_task(self._be_hungry(each, left)) for each in people.guests]
        self._tasks += guests
        with suppress(TimeoutError):
            async with asyncio.timeout(STORM_S + self.options.orders * STORM_S_PER_ORDER):
                await self._all_wanted.wait()
                await asyncio.sleep(self._chance.uniform(2, 10))
        self._manners.are_calm = self.weather.is_calm = True
        await strikes
        self._calm_s = self._loop.time()
        self.diary.note("weather", "calm")
        for _ in range(round(PATIENCE_S)):
            if not self._open_orders():
                break
            await asyncio.sleep(1)
        self._calls = self._dynamo.faults.calls - before
        await asyncio.sleep(SETTLING_S)

    async def _be_hungry(self, guest: Customer, left: Iterator[int]) -> None:
        for _ in left:
            self._wanted += 1
            if self._wanted == self.options.orders:
                self._all_wanted.set()
            await guest.order()
            await asyncio.sleep(guest.phone.chance.uniform(0.5, 4))

    def _open_orders(self) -> int:
        """How many orders of the table have not ended."""
        return sum(
            image["status"]["S"] not in TERMINAL
            for (_, sk), image in self._dynamo.tables[TABLE].images().items()
            if sk == "METADATA" and "orderId" in image
        )

    async def _gather(self, people: "People") -> Outcome:
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                for guest in people.guests:
                    await guest.phone.get("/orders?limit=100")
                for who in (*people.guests, *people.riders, *people.shops):
                    await who.phone.get("/wallet/balance")
                await people.admin.get("/admin/ledger/trial-balance")
        whole = {
            phone.who: self._redis.hash_of(f"inbox:{{{phone.who}}}:head") for phone in self._phones
        }
        # What an earlier run of Redis left is no inbox any more.
        heads = {who: head for who, head in whole.items() if head.get("run") == self._redis.run}
        self.diary.note("weather", "end")
        evidence = Evidence(
            lines=self.diary.lines,
            history=self._history,
            items=self._dynamo.tables[TABLE].images(),
            heads=heads,
            calm_s=self._calm_s,
            start_ms=START_MS,
            patience_s=PATIENCE_S,
        )
        faults = dict(sorted((self.weather.counts | _dynamo_faults(self._dynamo)).items()))
        return Outcome(self.diary, evidence, self._loop.time(), faults, self._calls)

    def _phone(self, kind: str, owner: str) -> Phone:
        phone = Phone(kind, owner, self._exchange, self.diary, self.weather)
        self._phones.append(phone)
        self._start(phone.run())
        return phone

    def _start(self, work: Any) -> None:
        self._tasks.append(self._loop.create_task(work))


class People(NamedTuple):
    """Who lives in the town."""

    admin: Phone
    shops: list[Vendor]
    riders: list[Rider]
    guests: list[Customer]


def _sizes(orders: int) -> tuple[int, int, int]:
    """Shops, riders and customers of a town for so many orders."""
    return max(3, orders // 12), max(4, min(40, orders // 4)), max(5, min(30, orders // 3))


def _dynamo_faults(dynamo: FakeDynamo) -> Counter[str]:
    return Counter({f"dynamo_{fault}": n for fault, n in dynamo.faults.counts.items()})


@contextmanager
def _heard_by(diary: Diary) -> Iterator[None]:
    """What the servers log as an error is written down; the rest is not printed."""

    def hear(_logger: Any, level: str, line: Any) -> Any:
        if level in ("error", "critical"):
            error = line.get("exc_info")
            facts = {name: str(value) for name, value in line.items() if name != "exc_info"}
            diary.note("log", level, **facts, error=_told(error))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.add_log_level, hear], cache_logger_on_first_use=False
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _told(error: Any) -> str:
    """An error and where it came from, in words that are the same in every run."""
    if error is True:
        error = sys.exc_info()[1]
    if not isinstance(error, BaseException):
        return ""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return f"{error!r} in " + " < ".join(frame.name for frame in reversed(frames))
