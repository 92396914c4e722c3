"""What runs by itself beside the requests: what each role listens to, relays, ticks and sweeps."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from dispatch.accounts.connection_counts import Visits
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import Inboxes
from dispatch.events.operations_board import Board, Pulse
from dispatch.events.outbox import Outbox
from dispatch.leadership.arrival_recorder import Arrivals
from dispatch.leadership.leader_lease import Reign
from dispatch.leadership.reconciliation import Reconciler
from dispatch.leadership.tick import Engine
from dispatch.leadership.trail_archiver import Keeper
from dispatch.orders.learned_stats import Tallies
from dispatch.orders.offers.display_receipts import OfferReceipts
from dispatch.storage.pubsub import Feeds
from dispatch.tracking.stores.learned_speeds import Paces
from handlers.app.contexts import Desk
from handlers.app.tracking_setup import Way
from handlers.sessions.revocation_cache import Revoked
from handlers.sessions.session_registry import Sessions
from handlers.sockets.event_delivery import Postman
from handlers.transport.load_shedding import Rush

LANE_SWEEP_S = 1.0
INDEX_SWEEP_S = 10.0

Loops = Mapping[str, Callable[[], Awaitable[None]]]


class Live(NamedTuple):
    """What moves by itself: listens, relays, ticks, drains."""

    node: str
    board: Board
    feeds: Feeds
    inboxes: Inboxes
    visits: Visits
    receipts: OfferReceipts
    outbox: Outbox
    engine: Engine
    reign: Reign
    way: Way
    arrivals: Arrivals
    paces: Paces
    tallies: Tallies
    reconciler: Reconciler
    revoked: Revoked
    keeper: Keeper


def common_loops(live: Live) -> Loops:
    """Every process hears, learns, and relays what it has written itself."""
    return {
        "feeds": live.feeds.run,
        "outbox": live.outbox.run,
        "reconciler": live.reconciler.run,
        "paces": live.paces.run,
        "tallies": live.tallies.run,
    }


def edge_loops(desk: Desk, live: Live, postman: Postman, sessions: Sessions) -> Loops:
    """A process with sockets brings positions to Redis and events to its sockets."""
    routes: Loops = {} if live.way.router is None else {"router": live.way.router.run}
    return {
        **routes,
        "arrivals": live.arrivals.run,
        "drain": live.way.drain.run,
        "watchers": desk.watchers.run,
        "settler": desk.settler.run,
        "payer": desk.payer.run,
        "offer_receipts": live.receipts.run,
        "postman": postman.run,
        "areas": desk.areas.run,
        "purses": desk.purses.run,
        "expiry": sessions.watch_expiry,
        "revoked": live.revoked.run,
        "rush": Rush(sessions, desk.clock).watch,
        "lane_sweep": lambda: _sweep_lane(desk, live),
    }


def engine_loops(desk: Desk, live: Live) -> Loops:
    """A process that may be the live engine also finishes what lost nodes have left."""
    return {
        "engine": live.reign.run,
        "outbox_sweep": live.outbox.sweep,
        "settler_sweep": desk.settler.sweep,
        "lapses": lambda: desk.lapses.run(lambda: live.reign.is_held),
        "payout_sweep": desk.payer.sweep,
        "warden": lambda: desk.warden.run(lambda: live.reign.is_held, desk.alarm.raise_),
        "index_sweep": lambda: _sweep_index(desk),
        "trails": lambda: live.keeper.run(desk.clock, lambda: live.reign.is_held),
    }


async def _sweep_lane(desk: Desk, live: Live) -> None:
    while True:
        await asyncio.sleep(LANE_SWEEP_S)
        now_ms = desk.clock.now_ms()
        fixes = desk.lane.sweep(now_ms)
        with suppress(StoreUnavailable):
            # What is not reported now is missing from the page; a node that reports nothing for
            # seconds counts as gone, and its sockets are none.
            pulse = Pulse(now_ms, fixes, desk.roster.on_duty())
            live.visits.judge(await live.board.report(live.node, pulse))


async def _sweep_index(desk: Desk) -> None:
    while True:
        await asyncio.sleep(INDEX_SWEEP_S)
        with suppress(StoreUnavailable):
            # What is not swept now is swept the next time; searches pass over it.
            await desk.positions.sweep(desk.clock.now_ms())
