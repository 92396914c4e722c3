"""Reconciliation: refills Redis from DynamoDB and from this node's riders, after it lost data.

Timers and operations board come from the orders, the geo index from the connected riders.
"""

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
from dispatch.orders.transitions.waves import needs_engine
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from dispatch.storage.timers import Timers
from dispatch.tracking.redis_writer import RedisWriter
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.wire.events import OrderMarker
from dispatch.wire.snapshots import order_marker

# The instance id is read every CHECK_EVERY_S, one round trip. Without known losses one shard of the
# orders is compared every COMPARE_EVERY_S: reading all of them would cost a millisecond of CPU for
# each open order. Source: docs/promises.md, an emptied Redis is refilled within 30 s.
CHECK_EVERY_S = 1.0
COMPARE_EVERY_S = 10.0
# Pause after a store was unavailable.
RETRY_S = 0.5
# A store that stays away is logged this often. Source: chosen.
LOG_EVERY_S = 10.0
# Board lines written in one pipeline; riders whose workload is read concurrently; ended orders that
# are still on the board looked up in one round.
LINES_AT_ONCE = 500
RIDERS_AT_ONCE = 16
ENDED_LINES_MAX = 64

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Recoverable(Protocol):
    """A part of Redis's data that can be restored."""

    async def restore(self, *, is_lost: bool) -> None:
        """Restore what is missing; `is_lost` means that data is known to be lost.

        Errors: StoreUnavailable, TableUnavailable; it will be called again.
        """
        ...


class Reconciler:
    """Detects that Redis was emptied or unreachable, and restores each part."""

    def __init__(
        self, redis_instance: RedisInstance, recoverables: Sequence[Recoverable], clock: Clock
    ) -> None:
        self._redis_instance = redis_instance
        self._recoverables = recoverables
        self._clock = clock
        self._known_id = ""
        self._is_recovery_due = True
        self._compared_at_s = clock.monotonic_s()
        self._deferred_at_s = float("-inf")
        self._wake_up = WakeUp()

    def wake(self) -> None:
        """Restore now: messages were missed. The callback of `PubSub.on_gap`."""
        self._is_recovery_due = True
        self._wake_up.set()

    async def run(self) -> None:
        """Background loop: check every second, and at once after `wake`."""
        while True:
            pause_s = CHECK_EVERY_S
            try:
                await self.check()
                self._deferred_at_s = float("-inf")
            except StoreUnavailable as error:
                self._log_deferred(error)
                pause_s = RETRY_S
            await self._wake_up.wait(pause_s)

    def _log_deferred(self, error: StoreUnavailable) -> None:
        """Log that the stores are away, at once and then every LOG_EVERY_S."""
        now_s = self._clock.monotonic_s()
        if now_s - self._deferred_at_s >= LOG_EVERY_S:
            self._deferred_at_s = now_s
            log.warning("reconciliation_deferred", cause=str(error))

    async def check(self) -> bool:
        """Restore what is lost, or compare the next shard when it is due; whether it did either.

        Errors: StoreUnavailable; the next call restores what this one could not.
        """
        instance_id = await self._redis_instance.read_id()
        is_lost = self._is_recovery_due or instance_id != self._known_id
        now_s = self._clock.monotonic_s()
        if not is_lost and now_s - self._compared_at_s < COMPARE_EVERY_S:
            return False
        self._is_recovery_due = False
        try:
            with translate_dynamodb_errors():
                for part in self._recoverables:
                    await part.restore(is_lost=is_lost)
        except StoreUnavailable:
            self._is_recovery_due = self._is_recovery_due or is_lost
            raise
        if is_lost and self._known_id:
            metrics.RECONCILIATIONS.labels(
                "emptied" if instance_id != self._known_id else "gap"
            ).inc()
            log.info("reconciled", is_emptied=instance_id != self._known_id)
        self._known_id, self._compared_at_s = instance_id, now_s
        return True


class OpenOrderRecovery:
    """Restores timers and operations board from the open orders; on the leader's node."""

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
        """Arm missing timers and bring the board up to date with the orders.

        For all open orders where data was lost, else for those of the next shard.
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
            order.order_id: _due_at_ms(order) for order in orders if needs_engine(order)
        }
        timers = await self._timers.arm_missing(due)
        lines = await self._recover_board(shard, orders)
        if timers or lines:
            log.info("orders_recovered", timers=timers, lines=lines, is_lost=is_lost)

    async def _recover_board(self, shard: int, orders: Sequence[Order]) -> int:
        markers = await self._board.read()
        shown = {
            each.order_id: each.version for each in markers if order_shard(each.order_id) == shard
        }
        behind = [order for order in orders if shown.get(order.order_id, 0) < order.version]
        lines = [BoardLine(order_marker(order), ended=False) for order in behind]
        lines += await self._ended_lines(shown, {order.order_id for order in orders})
        for chunk in _chunks(lines, LINES_AT_ONCE):
            await self._board.post(chunk, {})
        return len(lines)

    async def _ended_lines(
        self, shown: Mapping[str, int], open_order_ids: set[str]
    ) -> list[BoardLine]:
        """Last lines for orders that have ended and are still on the board."""
        lines: list[BoardLine] = []
        for order_id in islice(shown.keys() - open_order_ids, ENDED_LINES_MAX):
            # An order that was placed while the open ones were read is not ended.
            order = await self._orders.get(order_id)
            if order is None:
                status = OrderStatus.CANCELLED.value
                lines.append(BoardLine(OrderMarker(order_id=order_id, status=status), ended=True))
            elif order.is_terminal:
                lines.append(BoardLine(order_marker(order), ended=True))
        return lines


class RiderStateRecovery:
    """Restores the geo index and the workload of this node's riders; on a node with sockets."""

    def __init__(
        self, rider_registry: RiderRegistry, writer: RedisWriter, rider_loader: RiderLoader
    ) -> None:
        self._rider_registry = rider_registry
        self._writer = writer
        self._rider_loader = rider_loader

    async def restore(self, *, is_lost: bool) -> None:
        """Index every rider again, and read its workload from the table."""
        if not is_lost:
            return
        riders = list(self._rider_registry)
        for rider in riders:
            if rider.last_fix is not None:
                self._writer.enqueue(rider)
        for chunk in _chunks(riders, RIDERS_AT_ONCE):
            await asyncio.gather(*map(self._rider_loader.reload_workload, chunk))


def _due_at_ms(order: Order) -> int:
    assert order.dispatch is not None, "an order that needs a rider has dispatch state"
    # Without a time of its own it is due at once.
    return order.dispatch.due_at_ms or order.updated_at


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))
