"""Brings back what Redis has forgotten: the orders' share from DynamoDB, the riders' from here."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeVar

import structlog

from concurrency.wakeup import Bell
from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.operations_board import Board, Line
from dispatch.leadership.redis_instance import Birth
from dispatch.model import Order, OrderStatus, course_of
from dispatch.orders.store import SHARDS, Orders, shard_of
from dispatch.orders.transitions.waves import wants_engine
from dispatch.riders.store import Riders
from dispatch.storage.timers import Timers
from dispatch.tracking.redis_writer import Drain
from dispatch.tracking.rider_state import Roster, Seat
from dispatch.wire.events import OrderDot
from dispatch.wire.snapshots import order_dot
from ledger.dynamodb.table import TableUnavailable

# Source: promise, an emptied Redis is rebuilt within 30 s; its mark is asked for this often,
# which is one round trip. Where nothing is known to be missing one shard of the orders is compared
# in the longer time: reading all of them would cost a millisecond of CPU for each open order.
LOOK_EVERY_S = 1.0
COMPARE_EVERY_S = 10.0
# A store that is away is asked again after this long.
AWAY_S = 0.5
# Lines of the board written in one pipeline, riders whose duty is read side by side, and lines of
# orders that are over looked up in one round; the next round looks at others.
LINES_AT_ONCE = 500
RIDERS_AT_ONCE = 16
LEFTOVERS_MAX = 64

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Part(Protocol):
    """Something that can be brought back."""

    async def restore(self, *, is_lost: bool) -> None:
        """Bring it back; `is_lost` says that something is known to be missing.

        Errors: StoreUnavailable, TableUnavailable; it will be called again.
        """
        ...


class Reconciler:
    """Notices that Redis was emptied or away, and has each part brought back."""

    def __init__(self, birth: Birth, parts: Sequence[Part], clock: Clock) -> None:
        self._birth = birth
        self._parts = parts
        self._clock = clock
        self._known = ""
        self._is_behind = True
        self._compared_s = clock.monotonic_s()
        self._bell = Bell()

    def wake(self) -> None:
        """Something was missed: compare now; the callback of the feeds' gaps."""
        self._is_behind = True
        self._bell.ring()

    async def run(self) -> None:
        """Look for as long as the server runs."""
        while True:
            pause_s = LOOK_EVERY_S
            try:
                await self.look()
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("reconciliation_deferred", cause=str(error))
                pause_s = AWAY_S
            await self._bell.rest(pause_s)

    async def look(self) -> bool:
        """Compare if it is time to, or if Redis is another than it was; whether we did.

        Errors: StoreUnavailable, TableUnavailable; the next look does what this one could not.
        """
        mark = await self._birth.mark()
        is_lost = self._is_behind or mark != self._known
        now_s = self._clock.monotonic_s()
        if not is_lost and now_s - self._compared_s < COMPARE_EVERY_S:
            return False
        self._is_behind = False
        try:
            for part in self._parts:
                await part.restore(is_lost=is_lost)
        except (StoreUnavailable, TableUnavailable):
            self._is_behind = self._is_behind or is_lost
            raise
        if is_lost and self._known:
            metrics.RECONCILIATIONS.labels("emptied" if mark != self._known else "gap").inc()
            log.info("reconciled", is_emptied=mark != self._known)
        self._known, self._compared_s = mark, now_s
        return True


class OpenOrders:
    """The timers and the board, out of the orders that still move; for the live engine's node."""

    def __init__(
        self, orders: Orders, timers: Timers, board: Board, is_live: Callable[[], bool]
    ) -> None:
        self._orders = orders
        self._timers = timers
        self._board = board
        self._is_live = is_live
        self._turn = 0

    async def restore(self, *, is_lost: bool) -> None:
        """Set missing timers, and make the board say what the orders say.

        Of all orders where something was lost, else of the next shard.
        """
        if not self._is_live():
            return
        shards = range(SHARDS) if is_lost else (self._turn,)
        for shard in shards:
            await self._compare(shard, is_lost=is_lost)
        self._turn = (self._turn + 1) % SHARDS

    async def _compare(self, shard: int, *, is_lost: bool) -> None:
        orders = await self._orders.list_open(shard)
        due = {order.order_id: _due(order) for order in orders if wants_engine(order)}
        timers = await self._timers.arm_missing(due)
        lines = await self._refill(shard, orders)
        if timers or lines:
            log.info("orders_restored", timers=timers, lines=lines, is_lost=is_lost)

    async def _refill(self, shard: int, orders: Sequence[Order]) -> int:
        dots = await self._board.read()
        shown = {dot.order_id: dot.version for dot in dots if shard_of(dot.order_id) == shard}
        behind = [order for order in orders if shown.get(order.order_id, 0) < order.version]
        lines = [Line(order_dot(order), ended=False) for order in behind]
        lines += await self._leftovers(shown, {order.order_id for order in orders})
        for some in _chunks(lines, LINES_AT_ONCE):
            await self._board.post(some, {})
        return len(lines)

    async def _leftovers(self, shown: Mapping[str, int], still: set[str]) -> list[Line]:
        """The last lines of orders that the board still shows though they are over."""
        lines: list[Line] = []
        for order_id in islice(shown.keys() - still, LEFTOVERS_MAX):
            # It may also have been placed while the open ones were read.
            order = await self._orders.get(order_id)
            if order is None:
                status = OrderStatus.CANCELLED.value
                lines.append(Line(OrderDot(order_id=order_id, status=status), ended=True))
            elif order.is_terminal:
                lines.append(Line(order_dot(order), ended=True))
        return lines


class Seats:
    """Where the riders of this node are, and what they carry; for a node with sockets."""

    def __init__(self, roster: Roster, drain: Drain, riders: Riders, orders: Orders) -> None:
        self._roster = roster
        self._drain = drain
        self._riders = riders
        self._orders = orders

    async def restore(self, *, is_lost: bool) -> None:
        """Put every rider into the index again, and take his duty from the table."""
        if not is_lost:
            return
        seats = list(self._roster)
        for seat in seats:
            if seat.last is not None:
                self._drain.touch(seat)
        for some in _chunks(seats, RIDERS_AT_ONCE):
            await asyncio.gather(*(self._reload(seat) for seat in some))

    async def _reload(self, seat: Seat) -> None:
        rider_id, before = seat.rider_id, (seat.available, seat.orders)
        duty = await self._riders.duty(rider_id)
        if self._roster.get(rider_id) is not seat or (seat.available, seat.orders) != before:
            # He has said something meanwhile, and that is newer than what we read.
            return
        self._roster.set_available(rider_id, available=duty.available, until_ms=duty.until_ms)
        self._roster.carry(rider_id, duty.orders)
        for order_id in duty.orders:
            order = await self._orders.get(order_id)
            course = course_of(order) if order is not None else None
            if course is not None and order is not None and order.rider_id == rider_id:
                self._roster.steer(rider_id, course)


def _due(order: Order) -> int:
    assert order.dispatch is not None, "an order that wants a rider has a search"
    # Without a moment of its own it is due at once.
    return order.dispatch.due_at_ms or order.updated_at


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))
