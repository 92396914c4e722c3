"""The board knows which nodes live."""

from dispatch import keys
from dispatch.events.operations_board import FORGOTTEN_MS, PULSE_MS, Board, Pulse
from dispatch.storage.redis_client import RedisClients, Scripts

NOW_MS = 1_763_000_000_000


async def test_nodes_that_report_live(redis: RedisClients):
    """Whoever was silent for five seconds does not; after an hour nothing is left of it."""
    board = Board(redis, Scripts(redis.commands))
    silent, gone = NOW_MS - PULSE_MS - 1, NOW_MS - FORGOTTEN_MS - 1
    assert await board.report("gone", Pulse(gone, 0, 1)) == {"gone": gone}
    await board.report("silent", Pulse(silent, 3, 1))
    one_ms = NOW_MS - PULSE_MS
    assert await board.report("one", Pulse(one_ms, 0, 1)) == {"silent": silent, "one": one_ms}
    assert await board.report("two", Pulse(NOW_MS, 0, 2)) == {"one": one_ms, "two": NOW_MS}
    assert set(await redis.commands.hkeys(keys.pulses())) == {b"silent", b"one", b"two"}
    assert (await board.totals(NOW_MS)).riders_online == 3
