"""Operations board: lines of open orders, their changes as messages, and counters."""

import pytest

from dispatch import keys
from dispatch.events.node_reports import NodeReport, NodeReports
from dispatch.events.operations_board import DECODE_BATCH, BoardLine, OperationsBoard, parse_line
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.wire.events import OrderMarker
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster

NOW_MS = 1_763_000_000_000


@pytest.fixture
def board(redis: RedisClients, scripts: Scripts) -> OperationsBoard:
    return OperationsBoard(redis, scripts)


def marker(order_id: str, version: int = 1) -> OrderMarker:
    return OrderMarker(order_id=order_id, status="ACCEPTED", version=version)


async def test_board_has_the_last_line_of_open_orders(board: OperationsBoard):
    """A line replaces the order's earlier one, and the line of an ended order is removed."""
    await board.post([BoardLine(marker("a"), False), BoardLine(marker("b"), False)], {})
    await board.post([BoardLine(marker("a", 2), False), BoardLine(marker("b", 2), True)], {})
    assert await board.read() == [marker("a", 2)]


async def test_large_board_is_read_completely(board: OperationsBoard):
    """More lines than are decoded at once are all read."""
    lines = [BoardLine(marker(f"ord_{number}"), False) for number in range(DECODE_BATCH + 1)]
    await board.post(lines, {})
    assert len(await board.read()) == DECODE_BATCH + 1


async def test_changes_are_published(board: OperationsBoard, redis: RedisClients, until: Until):
    """Every line is published, the last one of an ended order too."""
    received: list[OrderMarker] = []
    pubsub = PubSub(redis)
    async with until.running(pubsub.run):
        await pubsub.subscribe(keys.board_channel(), lambda raw: received.append(parse_line(raw)))
        await board.post([BoardLine(marker("a"), False), BoardLine(marker("b"), True)], {})
        await until.true(lambda: len(received) == 2)
    assert received == [marker("a"), marker("b")]


async def test_totals_add_up(board: OperationsBoard, redis: RedisClients):
    """Counters add up; open orders and riders of live nodes are counted, unknown names ignored."""
    await board.post([BoardLine(marker("a"), False)], {"ordersPlaced": 2, "unknown": 1})
    await board.post([], {"ordersPlaced": 1})
    await board.post([], {})
    await NodeReports(redis).report("one", NodeReport(NOW_MS, 5, 3))
    totals = await board.totals(NOW_MS)
    assert (totals.orders_placed, totals.orders_open) == (3, 1)
    assert (totals.riders_online, totals.fixes) == (3, 5)
