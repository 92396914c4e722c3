"""The board knows which nodes live."""

from dispatch import keys
from dispatch.events.operations_board import (
    NODE_EXPIRY_MS,
    NODE_TIMEOUT_MS,
    NodeReport,
    OperationsBoard,
)
from dispatch.storage.redis_client import RedisClients, Scripts

NOW_MS = 1_763_000_000_000


async def test_silent_nodes_are_not_counted(redis: RedisClients):
    """Whoever was silent for five seconds does not; after an hour nothing is left of it."""
    board = OperationsBoard(redis, Scripts(redis.commands))
    silent, gone = NOW_MS - NODE_TIMEOUT_MS - 1, NOW_MS - NODE_EXPIRY_MS - 1
    assert await board.report("gone", NodeReport(gone, 0, 1)) == {"gone": gone}
    await board.report("silent", NodeReport(silent, 3, 1))
    one_ms = NOW_MS - NODE_TIMEOUT_MS
    assert await board.report("one", NodeReport(one_ms, 0, 1)) == {"silent": silent, "one": one_ms}
    assert await board.report("two", NodeReport(NOW_MS, 0, 2)) == {"one": one_ms, "two": NOW_MS}
    assert set(await redis.commands.hkeys(keys.node_reports())) == {b"silent", b"one", b"two"}
    assert (await board.totals(NOW_MS)).riders_online == 3
