"""Orders placed and settled by our code, and the same transactions on the raw engine beside it.

Ours writes to one table and is noted; then the same requests go through the same client to the
same engine, into a second table that stands as the first one stood.
"""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench.common.harness import Failed
from dispatch import ids, settings
from dispatch.clock import SystemClock
from dispatch.orders.unit_of_work import Caller
from dispatch.storage.embedded import embedded_engines
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from dispatch.wire.http import requests
from handlers.app.composition import Basis, compose
from handlers.app.contexts import Desk
from ledger.core.facts import Settle
from ledger.core.order_funds import Fin, mark_delivered
from ledger.dynamodb.client import DynamoTable, open_table
from ledger.dynamodb.schema import ensure_table
from ledger.posting.ledger import Ledger

# Each worker has a shop, customers and a rider of his own, so that the second table can take his
# requests one after the other and nobody else's wait for them.
WORKERS = 8
CUSTOMERS = 4
PURSE_XAF, PRICE_XAF = 10_000_000, 5_000
FIRST, TWIN, LEAN = "first", "twin", "lean"
_worker: ContextVar[int] = ContextVar("worker", default=0)

Work = Callable[[int], Awaitable[None]]
Request = dict[str, Any]


class Noted:
    """A DynamoDB client that notes each transaction for the twin, with the worker who made it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._noted: list[tuple[int, Request]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def __len__(self) -> int:
        """How many transactions the twin does not have yet."""
        return len(self._noted)

    async def transact_write_items(self, **request: Any) -> Request:
        """Write, and note what was written."""
        answer = await self._client.transact_write_items(**request)
        self._noted.append((_worker.get(), request))
        return answer

    async def copy(self) -> None:
        """Bring the twins up to date, one transaction after the other."""
        for _, request in self._noted:
            for name in (TWIN, LEAN):
                await self._client.transact_write_items(**_moved(request, name))
        self.forget()

    def forget(self) -> None:
        """Every twin has what was noted."""
        self._noted.clear()

    async def race(self, name: str = TWIN, client: Any = None) -> "Took":
        """The same into a twin as fast as the workers can, through `client` or our own."""
        by_worker: dict[int, list[Request]] = defaultdict(list)
        for worker, request in self._noted:
            by_worker[worker].append(_moved(request, name))
        send = (client or self._client).transact_write_items

        async def work(worker: int) -> None:
            for request in by_worker[worker]:
                await send(**request)

        return await timed(work)


def _moved(request: Request, name: str) -> Request:
    """A transaction for another table; the same token would be taken for a repetition."""
    items = [
        {verb: {**body, "TableName": name} for verb, body in item.items()}
        for item in request["TransactItems"]
    ]
    return {"TransactItems": items, "ClientRequestToken": secrets.token_urlsafe(18)}


class Took(NamedTuple):
    """What something took on the clock, and of this process' CPU. Units: seconds."""

    wall_s: float
    cpu_s: float


class Ours(NamedTuple):
    """Our code on engines of the bench's own."""

    noted: Noted
    table: DynamoTable
    desk: Desk
    ledger: Ledger
    redis: RedisClients
    scripts: Scripts


@asynccontextmanager
async def ours_on(folder: Path) -> AsyncIterator[Ours]:
    """Engines, both tables, and the parts of a server that write to the first one."""
    given, clock = settings.read({"DATA_DIR": str(folder)}, dev=True), SystemClock()
    async with AsyncExitStack() as stack:
        engines = await stack.enter_async_context(embedded_engines(given))
        redis = await stack.enter_async_context(open_redis(engines.redis_url))
        first = await stack.enter_async_context(
            open_table(engines.dynamodb_endpoint, given.aws_region, FIRST)
        )
        for name in (FIRST, TWIN, LEAN):
            await ensure_table(DynamoTable(first.client, name))
        noted = Noted(first.client)
        table = DynamoTable(noted, FIRST)
        scripts = Scripts(redis.commands)
        await scripts.load()
        desk, _ = compose(Basis(given, clock, table, redis, scripts, ids.mint("node")))
        yield Ours(noted, table, desk, Ledger(table, clock.now_ms), redis, scripts)


@dataclass(slots=True)
class Race:
    """What our code and the raw engine took for the same transactions. Units: seconds.

    `lean` is the raw engine through another client, ours where none was given.
    """

    count: int = 0
    ours_s: float = 0.0
    raw_s: float = 0.0
    lean_s: float = 0.0
    ours_cpu_s: float = 0.0
    raw_cpu_s: float = 0.0
    lean_cpu_s: float = 0.0

    def figures(self, name: str) -> dict[str, object]:
        """Both per second, and ours as a share of raw."""
        return {
            f"{name}_per_s": round(self.count / self.ours_s, 1),
            f"{name}_raw_per_s": round(self.count / self.raw_s, 1),
            f"{name}_to_raw": round(self.raw_s / self.ours_s, 3),
        }

    def costs(self, name: str) -> dict[str, object]:
        """CPU of this process for each, and what a leaner client would make of the raw ones."""
        return {
            f"{name}_cpu_us": round(self.ours_cpu_s / self.count * 1e6),
            f"{name}_raw_cpu_us": round(self.raw_cpu_s / self.count * 1e6),
            f"{name}_lean_per_s": round(self.count / self.lean_s, 1),
            f"{name}_lean_cpu_us": round(self.lean_cpu_s / self.count * 1e6),
        }


@dataclass(slots=True)
class Books:
    """Both tables, and the races that were run on them."""

    ours: Ours
    # Another client for the same engine, to be measured beside ours.
    lean: Any = None
    placing: Race = field(default_factory=Race)
    # A settlement that first reads the order's money, as the server does it.
    settling: Race = field(default_factory=Race)
    # One that is told how the order's money stands.
    believing: Race = field(default_factory=Race)
    _placed: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    _fins: dict[str, Fin] = field(default_factory=dict)

    async def open(self) -> None:
        """Shops with a dish each and customers with full purses; everybody is paid once."""
        await timed(self._open_one)
        await timed(lambda worker: self._place(worker, 1))
        await self.deliver()
        # All lanes and all wallets have moved once; from here on nobody waits for another's first.
        await timed(lambda worker: self._settle(worker, 1, believes=False))
        await self.ours.noted.copy()

    async def place(self, each: int) -> None:
        """Every worker places so many orders; then the raw engine writes the same."""
        await self._race(self.placing, each, lambda worker: self._place(worker, each))

    async def deliver(self) -> None:
        """Every order that was placed is handed over."""
        await timed(self._deliver)
        await self.ours.noted.copy()

    async def settle(self, each: int, *, believes: bool) -> None:
        """Every worker settles so many orders; then the raw engine writes the same."""
        race = self.believing if believes else self.settling
        await self._race(race, each, lambda worker: self._settle(worker, each, believes=believes))

    async def _race(self, race: Race, each: int, work: Work) -> None:
        ours, noted = await timed(work), self.ours.noted
        if len(noted) != each * WORKERS:
            raise Failed(f"{each * WORKERS} transactions were to be noted, not {len(noted)}")
        raw = await noted.race()
        race.count += len(noted)
        race.ours_s, race.ours_cpu_s = race.ours_s + ours.wall_s, race.ours_cpu_s + ours.cpu_s
        race.raw_s, race.raw_cpu_s = race.raw_s + raw.wall_s, race.raw_cpu_s + raw.cpu_s
        lean = await noted.race(LEAN, self.lean)
        race.lean_s, race.lean_cpu_s = race.lean_s + lean.wall_s, race.lean_cpu_s + lean.cpu_s
        noted.forget()

    async def _open_one(self, worker: int) -> None:
        desk, shop = self.ours.desk, f"ven_{worker}"
        item = requests.CatalogueItem(name="Ndole", price=PRICE_XAF)
        await desk.catalogue.put_item(shop, "ndole", item)
        place = requests.Address(lat=4.05, lng=9.7, address="Akwa")
        profile = requests.VendorProfile(name=shop, location=place, online=True)
        await desk.catalogue.put_vendor(shop, profile)
        for number in range(CUSTOMERS):
            purse = requests.TopUp(amount=PURSE_XAF, provider="sandbox")
            await desk.cashier.top_up(_customer(worker, number), purse)

    async def _place(self, worker: int, each: int) -> None:
        basket = requests.GoodsOrder(
            order_type="FOOD",
            vendor_id=f"ven_{worker}",
            items=[requests.WantedItem(item_id="ndole", quantity=2)],
            delivery_address=requests.Address(lat=4.06, lng=9.7, address="Rue Joffre"),
            payment_method="WALLET",
        )
        for number in range(each):
            order = await self.ours.desk.flow.place_order(_customer(worker, number), basket)
            self._placed[worker].append(order["orderId"])

    async def _deliver(self, worker: int) -> None:
        for order_id in self._placed[worker]:
            now_ms = int(time.time() * 1000)
            guarded = mark_delivered(order_id, f"rdr_{worker}", now_ms)
            await self.ours.table.transact(guarded.writes)
            fin = await self.ours.ledger.fin(order_id)
            assert fin is not None, "placing an order opens its money"
            self._fins[order_id] = fin

    async def _settle(self, worker: int, each: int, *, believes: bool) -> None:
        for _ in range(each):
            order_id = self._placed[worker].pop()
            fin = self._fins[order_id] if believes else None
            await self.ours.ledger.post(Settle(order_id), believed=fin)


async def timed(work: Work) -> Took:
    """Let every worker do his work; what that took."""

    async def as_worker(worker: int) -> None:
        _worker.set(worker)
        await work(worker)

    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for worker in range(WORKERS):
            group.create_task(as_worker(worker))
    return Took(time.perf_counter() - began_s, time.process_time() - began_cpu_s)


def _customer(worker: int, number: int) -> Caller:
    return Caller(audience="user", id=f"usr_{worker}_{number % CUSTOMERS}")
