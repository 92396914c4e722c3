"""The tick: looks at every open order when its time has come, and moves it on.

Step 4 of an order's way: timers -> [here] -> orders.search asks riders, orders.escort follows them.
"""

import asyncio

import structlog

from concurrency.wakeup import Bell
from dispatch.clock import Clock
from dispatch.errors import Deposed, Refused, StoreUnavailable
from dispatch.orders.batch.batch_loop import BACKSTOP_MS, Batches
from dispatch.orders.batch.open_orders import Outlook
from dispatch.orders.offers.lookups import Finds
from dispatch.orders.offers.offer_holds import Holdings
from dispatch.orders.offers.offering import Asking
from dispatch.orders.offers.pickup_monitor import Escort
from dispatch.orders.offers.search import Search
from dispatch.orders.service import Flow
from dispatch.orders.store import Orders
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import dispatch_of
from ledger.dynamodb.table import TableUnavailable

# Orders looked at side by side; each waits for a few round trips.
LOOKS_AT_ONCE = 16
# Without a timer the engine still looks round, in case it was not woken.
IDLE_S = 1.0
# A store that is away is asked again after this long.
AWAY_S = 0.5
# An order whose look failed is looked at again after this long.
AGAIN_MS = 500

log = structlog.get_logger(__name__)


class Engine:
    """The one live engine of a zone."""

    def __init__(self, flow: Flow, orders: Orders, finds: Finds, clock: Clock) -> None:
        self._orders = orders
        self._finds = finds
        self._clock = clock
        self._outlook = Outlook(orders, finds.board)
        asking = Asking(flow, finds, Holdings(clock))
        self._search = Search(flow, finds, asking, clock)
        self.batches = Batches(flow, finds, asking, self._outlook, clock)
        self._escort = Escort(flow, finds, clock)
        self._bell = Bell()

    def wake(self, _message: bytes = b"") -> None:
        """Look at the timers now; the callback of the engine's channel."""
        self._bell.ring()

    async def run(self) -> None:
        """Look at orders and decide them together, for as long as the server runs."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_looks())
            group.create_task(self.batches.run())

    async def _run_looks(self) -> None:
        """Rebuild the timers, then tick."""
        is_rebuilt = False
        while True:
            try:
                if not is_rebuilt:
                    await self.rebuild()
                    is_rebuilt = True
                wait_s = await self.tick()
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("engine_waits", cause=str(error))
                wait_s = AWAY_S
            except Deposed as deposed:
                # Whoever started this ends it in a moment.
                log.warning("engine_deposed", cause=str(deposed))
                wait_s = AWAY_S
            await self._bell.rest(wait_s)

    async def rebuild(self) -> int:
        """Set the timer of every order that has something to see to; returns how many there are.

        Redis may have forgotten them; the orders have not.
        """
        now_ms = self._clock.now_ms()
        due: dict[str, int] = {}
        orders = await self._orders.list_open()
        self._outlook.clear()
        for order in orders:
            self._outlook.note(order)
            if waves.wants_engine(order):
                due[order.order_id] = dispatch_of(order).due_at_ms or now_ms
                self._search.hold(order)
        await self._finds.timers.arm(due)
        return len(due)

    async def tick(self) -> float:
        """Look at every order that is due; returns for how long there is nothing to do.

        Units: seconds.
        """
        now_ms = self._clock.now_ms()
        token = self._finds.fence.token()
        due, next_ms = await self._finds.timers.claim(now_ms, LOOKS_AT_ONCE, token)
        if due:
            await asyncio.gather(*(self._look_safely(order_id) for order_id in due))
            return 0.0
        if next_ms is None:
            return IDLE_S
        return min(IDLE_S, max(0.0, (next_ms - now_ms) / 1000))

    async def _look_safely(self, order_id: str) -> None:
        try:
            await self.look(order_id)
        except Deposed:
            log.info("engine_look_left", order_id=order_id)
        except Refused as refused:
            # The order moved on under the engine's eyes; its own step has set its timer.
            log.debug("engine_outrun", order_id=order_id, code=refused.code)
            await self._again(order_id)
        except (StoreUnavailable, TableUnavailable) as error:
            log.warning("engine_look_failed", order_id=order_id, cause=str(error))
            await self._again(order_id)

    async def _again(self, order_id: str) -> None:
        await self._finds.put_timer(order_id, self._clock.now_ms() + AGAIN_MS)

    async def look(self, order_id: str) -> None:
        """Do what an order wants now: ask riders, follow its rider, or be left alone.

        Errors: Refused where the order moved on meanwhile; StoreUnavailable, TableUnavailable.
        """
        order = await self._orders.get(order_id)
        if order is None or not waves.wants_engine(order):
            self._search.forget(order_id)
            self._outlook.forget(order_id, order)
            await self._finds.timers.drop(order_id, self._finds.fence.token())
            return
        policy = await self._finds.policies.offers(order.order_type)
        if waves.is_coming(order):
            self._search.taken(order)
            self._outlook.note(order)
            await self._escort.look(order, policy)
        elif self.batches.takes(order, policy):
            again_ms = self._clock.now_ms() + BACKSTOP_MS
            self.batches.note(await self._search.attend(order, policy, again_ms))
        else:
            self._outlook.note(order)
            await self._search.look(order, policy)
