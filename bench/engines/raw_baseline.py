"""Compares orders placed and settled by this server's code with the bare DynamoDB transactions.

The code writes to one table and its transactions are recorded; then the same requests go through
the same client to the same engine, into a second table with the same content.
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

from bench.common.harness import BenchFailed
from dispatch import ids, settings
from dispatch.clock import SystemClock
from dispatch.orders.unit_of_work import Caller
from dispatch.storage.embedded import embedded_engines
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from dispatch.wire.http.base import Address
from dispatch.wire.http.catalogue import CatalogueItemBody
from dispatch.wire.http.orders import BasketItem, GoodsOrder
from dispatch.wire.http.profiles import VendorProfile
from dispatch.wire.http.wallets import TopUp
from handlers.app.composition import compose
from handlers.app.infrastructure import Infrastructure
from handlers.app.services import Services
from ledger.core.facts import Settle
from ledger.core.order_funds import OrderFunds, mark_delivered
from ledger.dynamodb.client import DynamoTable, open_table
from ledger.dynamodb.schema import ensure_table
from ledger.posting.ledger import Ledger

# Each worker has its own shop, customers and rider, so that its requests can be replayed in
# sequence on the second table without waiting for another worker's.
WORKERS = 8
CUSTOMERS = 4
BALANCE_XAF, PRICE_XAF = 10_000_000, 5_000
PRODUCT_TABLE, RAW_TABLE, LEAN_TABLE = "product", "raw", "lean"
_worker: ContextVar[int] = ContextVar("worker", default=0)

WorkerTask = Callable[[int], Awaitable[None]]
Request = dict[str, Any]


class RecordingClient:
    """A DynamoDB client that records each transaction with its worker, to be replayed."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._recorded: list[tuple[int, Request]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def __len__(self) -> int:
        """Recorded transactions that were not replayed yet."""
        return len(self._recorded)

    async def transact_write_items(self, **request: Any) -> Request:
        """Write and record a transaction."""
        answer = await self._client.transact_write_items(**request)
        self._recorded.append((_worker.get(), request))
        return answer

    async def replay_in_order(self) -> None:
        """Replay into both other tables, one transaction after the other."""
        for _, request in self._recorded:
            for name in (RAW_TABLE, LEAN_TABLE):
                await self._client.transact_write_items(**_for_table(request, name))
        self.clear()

    def clear(self) -> None:
        """Forget the recorded transactions."""
        self._recorded.clear()

    async def replay_concurrently(self, name: str = RAW_TABLE, client: Any = None) -> "Elapsed":
        """Replay into one table as fast as the workers can, through `client` or the product's."""
        by_worker: dict[int, list[Request]] = defaultdict(list)
        for worker, request in self._recorded:
            by_worker[worker].append(_for_table(request, name))
        send = (client or self._client).transact_write_items

        async def work(worker: int) -> None:
            for request in by_worker[worker]:
                await send(**request)

        return await time_workers(work)


def _for_table(request: Request, table: str) -> Request:
    """A transaction for another table, with a token of its own so that it is not a repetition."""
    items = [
        {verb: {**body, "TableName": table} for verb, body in item.items()}
        for item in request["TransactItems"]
    ]
    return {"TransactItems": items, "ClientRequestToken": secrets.token_urlsafe(18)}


class Elapsed(NamedTuple):
    """Wall-clock time, and CPU of this process. Units: seconds."""

    wall_s: float
    cpu_s: float


class ProductStack(NamedTuple):
    """The server's services in this process, on engines of the bench's own."""

    recorder: RecordingClient
    table: DynamoTable
    desk: Services
    ledger: Ledger
    redis: RedisClients
    scripts: Scripts


@asynccontextmanager
async def running_product(folder: Path) -> AsyncIterator[ProductStack]:
    """Start engines, create the tables, and compose services that write to the product's table."""
    given, clock = settings.read({"DATA_DIR": str(folder)}, dev=True), SystemClock()
    async with AsyncExitStack() as stack:
        engines = await stack.enter_async_context(embedded_engines(given))
        redis = await stack.enter_async_context(open_redis(engines.redis_url))
        first = await stack.enter_async_context(
            open_table(engines.dynamodb_endpoint, given.aws_region, PRODUCT_TABLE)
        )
        for name in (PRODUCT_TABLE, RAW_TABLE, LEAN_TABLE):
            await ensure_table(DynamoTable(first.client, name))
        recorder = RecordingClient(first.client)
        table = DynamoTable(recorder, PRODUCT_TABLE)
        scripts = Scripts(redis.commands)
        await scripts.load()
        desk, _ = compose(Infrastructure(given, clock, table, redis, scripts, ids.new_id("node")))
        yield ProductStack(recorder, table, desk, Ledger(table, clock.now_ms), redis, scripts)


@dataclass(slots=True)
class Comparison:
    """Durations of the same transactions by the product and on the raw engine. Units: seconds.

    `lean` is the raw engine through another client, the product's where none was given.
    """

    count: int = 0
    product_s: float = 0.0
    raw_s: float = 0.0
    lean_s: float = 0.0
    product_cpu_s: float = 0.0
    raw_cpu_s: float = 0.0
    lean_cpu_s: float = 0.0

    def figures(self, name: str) -> dict[str, object]:
        """Both rates per second, and the product's as a share of the raw one."""
        return {
            f"{name}_per_s": round(self.count / self.product_s, 1),
            f"{name}_raw_per_s": round(self.count / self.raw_s, 1),
            f"{name}_to_raw": round(self.raw_s / self.product_s, 3),
        }

    def costs(self, name: str) -> dict[str, object]:
        """CPU of this process for each transaction, and the rate through the other client."""
        return {
            f"{name}_cpu_us": round(self.product_cpu_s / self.count * 1e6),
            f"{name}_raw_cpu_us": round(self.raw_cpu_s / self.count * 1e6),
            f"{name}_lean_per_s": round(self.count / self.lean_s, 1),
            f"{name}_lean_cpu_us": round(self.lean_cpu_s / self.count * 1e6),
        }


@dataclass(slots=True)
class LedgerComparison:
    """The product and its tables, with the comparisons made on them."""

    product: ProductStack
    # Another client for the same engine, to be measured too.
    lean_client: Any = None
    placing: Comparison = field(default_factory=Comparison)
    # Settlements that first read the order's funds.
    settling: Comparison = field(default_factory=Comparison)
    # Settlements that are given the order's funds, as the server does it.
    settling_known_funds: Comparison = field(default_factory=Comparison)
    _placed: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    _funds: dict[str, OrderFunds] = field(default_factory=dict)

    async def set_up(self) -> None:
        """Create shops, dishes and customers' wallets; settle one order of every worker."""
        await time_workers(self._set_up_worker)
        await time_workers(lambda worker: self._place_as_worker(worker, 1))
        await self.deliver_orders()
        # The first movement of an account is a different write from all that follow.
        await time_workers(lambda worker: self._settle_as_worker(worker, 1, are_funds_known=False))
        await self.product.recorder.replay_in_order()

    async def place_orders(self, orders_each: int) -> None:
        """Let every worker place so many orders; then replay the same on the raw engine.

        Errors: BenchFailed.
        """
        await self._compare(
            self.placing, orders_each, lambda worker: self._place_as_worker(worker, orders_each)
        )

    async def deliver_orders(self) -> None:
        """Mark every placed order as delivered, in all tables."""
        await time_workers(self._deliver_as_worker)
        await self.product.recorder.replay_in_order()

    async def settle_orders(self, orders_each: int, *, are_funds_known: bool) -> None:
        """Let every worker settle so many orders; then replay the same on the raw engine.

        Errors: BenchFailed.
        """
        comparison = self.settling_known_funds if are_funds_known else self.settling
        await self._compare(
            comparison,
            orders_each,
            lambda worker: self._settle_as_worker(
                worker, orders_each, are_funds_known=are_funds_known
            ),
        )

    async def _compare(self, comparison: Comparison, orders_each: int, work: WorkerTask) -> None:
        product, recorder = await time_workers(work), self.product.recorder
        if len(recorder) != orders_each * WORKERS:
            raise BenchFailed(
                f"{len(recorder)} transactions were recorded instead of {orders_each * WORKERS}"
            )
        raw = await recorder.replay_concurrently()
        lean = await recorder.replay_concurrently(LEAN_TABLE, self.lean_client)
        comparison.count += len(recorder)
        comparison.product_s += product.wall_s
        comparison.product_cpu_s += product.cpu_s
        comparison.raw_s += raw.wall_s
        comparison.raw_cpu_s += raw.cpu_s
        comparison.lean_s += lean.wall_s
        comparison.lean_cpu_s += lean.cpu_s
        recorder.clear()

    async def _set_up_worker(self, worker: int) -> None:
        desk, shop = self.product.desk, f"ven_{worker}"
        item = CatalogueItemBody(name="Ndole", price=PRICE_XAF)
        await desk.catalogue.put_item(shop, "ndole", item)
        place = Address(lat=4.05, lng=9.7, address="Akwa")
        profile = VendorProfile(name=shop, location=place, online=True)
        await desk.catalogue.put_vendor(shop, profile)
        for number in range(CUSTOMERS):
            top_up = TopUp(amount=BALANCE_XAF, provider="sandbox")
            await desk.payment_service.top_up(_customer(worker, number), top_up)

    async def _place_as_worker(self, worker: int, orders_each: int) -> None:
        basket = GoodsOrder(
            order_type="FOOD",
            vendor_id=f"ven_{worker}",
            items=[BasketItem(item_id="ndole", quantity=2)],
            delivery_address=Address(lat=4.06, lng=9.7, address="Rue Joffre"),
            payment_method="WALLET",
        )
        for number in range(orders_each):
            order = await self.product.desk.order_service.place_order(
                _customer(worker, number), basket
            )
            self._placed[worker].append(order["orderId"])

    async def _deliver_as_worker(self, worker: int) -> None:
        for order_id in self._placed[worker]:
            now_ms = int(time.time() * 1000)
            delivered = mark_delivered(order_id, f"rdr_{worker}", now_ms)
            await self.product.table.transact(delivered.writes)
            funds = await self.product.ledger.get_funds(order_id)
            assert funds is not None, "placing an order writes its funds"
            self._funds[order_id] = funds

    async def _settle_as_worker(
        self, worker: int, orders_each: int, *, are_funds_known: bool
    ) -> None:
        for _ in range(orders_each):
            order_id = self._placed[worker].pop()
            funds = self._funds[order_id] if are_funds_known else None
            await self.product.ledger.post(Settle(order_id), expected_funds=funds)


async def time_workers(work: WorkerTask) -> Elapsed:
    """Run every worker's part at the same time; how long that took."""

    async def as_worker(worker: int) -> None:
        _worker.set(worker)
        await work(worker)

    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for worker in range(WORKERS):
            group.create_task(as_worker(worker))
    return Elapsed(time.perf_counter() - began_s, time.process_time() - began_cpu_s)


def _customer(worker: int, number: int) -> Caller:
    return Caller(audience="user", id=f"usr_{worker}_{number % CUSTOMERS}")
