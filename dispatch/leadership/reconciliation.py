"""Brings back what Redis has forgotten: the orders' share from DynamoDB, the riders' from here."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeVar

import structlog

from concurrency.wakeup import WakeUp
from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.operations_board import BoardLine, OperationsBoard
from dispatch.leadership.redis_instance import RedisInstance
from dispatch.model import Order, OrderStatus
from dispatch.orders.rider_loader import RiderLoader
from dispatch.orders.store import SHARDS, OrderStore, order_shard
from dispatch.orders.transitions.waves import needs_dispatch
from dispatch.storage.timers import Timers
from dispatch.tracking.redis_writer import RedisWriter
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.wire.events import OrderMarker
from dispatch.wire.snapshots import order_marker
from ledger.dynamodb.table import TableUnavailable

# Source: promise, an emptied Redis is rebuilt within 30 s; its mark is asked for this often,
# which is one round trip. Where nothing is known to be missing one shard of the orders is compared
# in the longer time: reading all of them would cost a millisecond of CPU for each open order.
CHECK_EVERY_S = 1.0
COMPARE_EVERY_S = 10.0
# A store that is away is asked again after this long.
RETRY_S = 0.5
# Lines of the board written in one pipeline, riders whose duty is read side by side, and lines of
# orders that are over looked up in one round; the next round looks at others.
LINES_AT_ONCE = 500
RIDERS_AT_ONCE = 16
ENDED_LINES_MAX = 64

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Recoverable(Protocol):
    """Something that can be brought back."""

    async def restore(self, *, is_lost: bool) -> None:
        """Bring it back; `is_lost` says that something is known to be missing.

        Errors: StoreUnavailable, TableUnavailable; it will be called again.
        """
        ...


class Reconciler:
    """Notices that Redis was emptied or away, and has each part brought back."""

    def __init__(
        self, redis_instance: RedisInstance, recoverables: Sequence[Recoverable], clock: Clock
    ) -> None:
        self._redis_instance = redis_instance
        self._recoverables = recoverables
        self._clock = clock
        self._known_id = ""
        self._is_recovery_due = True
        self._compared_at_s = clock.monotonic_s()
        self._wake_up = WakeUp()

    def wake(self) -> None:
        """Something was missed: compare now; the callback of the feeds' gaps."""
        self._is_recovery_due = True
        self._wake_up.set()

    async def run(self) -> None:
        """Look for as long as the server runs."""
        while True:
            pause_s = CHECK_EVERY_S
            try:
                await self.check()
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("reconciliation_deferred", cause=str(error))
                pause_s = RETRY_S
            await self._wake_up.wait(pause_s)

    async def check(self) -> bool:
        """Compare if it is time to, or if Redis is another than it was; whether we did.

        Errors: StoreUnavailable, TableUnavailable; the next look does what this one could not.
        """
        mark = await self._redis_instance.read_id()
        is_lost = self._is_recovery_due or mark != self._known_id
        now_s = self._clock.monotonic_s()
        if not is_lost and now_s - self._compared_at_s < COMPARE_EVERY_S:
            return False
        self._is_recovery_due = False
        try:
            for part in self._recoverables:
                await part.restore(is_lost=is_lost)
        except (StoreUnavailable, TableUnavailable):
            self._is_recovery_due = self._is_recovery_due or is_lost
            raise
        if is_lost and self._known_id:
            metrics.RECONCILIATIONS.labels("emptied" if mark != self._known_id else "gap").inc()
            log.info("reconciled", is_emptied=mark != self._known_id)
        self._known_id, self._compared_at_s = mark, now_s
        return True


class OpenOrderRecovery:
    """The timers and the board, out of the orders that still move; for the live engine's node."""

    def __init__(
        self,
        orders: OrderStore,
        timers: Timers,
        board: OperationsBoard,
        is_leader: Callable[[], bool],
    ) -> None:
        self._orders = orders
        self._timers = timers
        self._board = board
        self._is_leader = is_leader
        self._next_shard = 0

    async def restore(self, *, is_lost: bool) -> None:
        """Set missing timers, and make the board say what the orders say.

        Of all orders where something was lost, else of the next shard.
        """
        if not self._is_leader():
            return
        shards = range(SHARDS) if is_lost else (self._next_shard,)
        for shard in shards:
            await self._recover_shard(shard, is_lost=is_lost)
        self._next_shard = (self._next_shard + 1) % SHARDS

    async def _recover_shard(self, shard: int, *, is_lost: bool) -> None:
        orders = await self._orders.list_open(shard)
        due: dict[str, int] = {
            order.order_id: _due_at_ms(order) for order in orders if needs_dispatch(order)
        }
        timers = await self._timers.arm_missing(due)
        lines = await self._recover_board(shard, orders)
        if timers or lines:
            log.info("orders_restored", timers=timers, lines=lines, is_lost=is_lost)

    async def _recover_board(self, shard: int, orders: Sequence[Order]) -> int:
        dots = await self._board.read()
        shown = {dot.order_id: dot.version for dot in dots if order_shard(dot.order_id) == shard}
        behind = [order for order in orders if shown.get(order.order_id, 0) < order.version]
        lines = [BoardLine(order_marker(order), ended=False) for order in behind]
        lines += await self._ended_lines(shown, {order.order_id for order in orders})
        for some in _chunks(lines, LINES_AT_ONCE):
            await self._board.post(some, {})
        return len(lines)

    async def _ended_lines(
        self, shown: Mapping[str, int], open_order_ids: set[str]
    ) -> list[BoardLine]:
        """The last lines of orders that the board still shows though they are over."""
        lines: list[BoardLine] = []
        for order_id in islice(shown.keys() - open_order_ids, ENDED_LINES_MAX):
            # It may also have been placed while the open ones were read.
            order = await self._orders.get(order_id)
            if order is None:
                status = OrderStatus.CANCELLED.value
                lines.append(BoardLine(OrderMarker(order_id=order_id, status=status), ended=True))
            elif order.is_terminal:
                lines.append(BoardLine(order_marker(order), ended=True))
        return lines


class RiderStateRecovery:
    """Positions and workloads of this node's riders; for a node with sockets."""

    def __init__(
        self, rider_registry: RiderRegistry, writer: RedisWriter, rider_loader: RiderLoader
    ) -> None:
        self._rider_registry = rider_registry
        self._writer = writer
        self._rider_loader = rider_loader

    async def restore(self, *, is_lost: bool) -> None:
        """Write every rider to the index again, and reload its workload from the table."""
        if not is_lost:
            return
        riders = list(self._rider_registry)
        for rider in riders:
            if rider.last_fix is not None:
                self._writer.enqueue(rider)
        for some in _chunks(riders, RIDERS_AT_ONCE):
            await asyncio.gather(*map(self._rider_loader.reload_workload, some))


def _due_at_ms(order: Order) -> int:
    assert order.dispatch is not None, "an order that wants a rider has a search"
    # Without a moment of its own it is due at once.
    return order.dispatch.due_at_ms or order.updated_at


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))
