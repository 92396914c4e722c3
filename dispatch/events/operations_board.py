"""Operations board: one line per open order, and counters; for the operators' display only."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from dispatch import keys
from dispatch.events.node_reports import count_riders
from dispatch.storage.pipeline import Command, Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts, translate_redis_errors
from dispatch.wire.events import OrderMarker, Totals

# Lines decoded without yielding to the event loop, which takes a millisecond.
DECODE_BATCH = 500

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(OrderMarker)


class BoardLine(msgspec.Struct, frozen=True):
    """One order on the board; `ended` marks its last line, after which it is removed."""

    dot: OrderMarker
    ended: bool


class OperationsBoard:
    """Writes and reads the board.

    Errors: every method raises StoreUnavailable where Redis cannot answer.
    """

    def __init__(self, clients: RedisClients, scripts: Scripts) -> None:
        self._redis = clients.commands
        self._pipeline = Pipeline(clients.commands, scripts)

    async def post(self, lines: Sequence[BoardLine], counters: Mapping[str, int]) -> None:
        """Set and publish the lines of orders, and add to the counters.

        Redis: HSET or HDEL, SPUBLISH and HINCRBY, one pipeline; a repeat may count twice.
        """
        if not lines and not counters:
            return
        commands: list[Command] = []
        for line in lines:
            text, order_id = _encoder.encode(line.dot), line.dot.order_id
            stored: Command = ("HSET", keys.board(), order_id, text)
            commands.append(("HDEL", keys.board(), order_id) if line.ended else stored)
            commands.append(("SPUBLISH", keys.board_channel(), text))
        commands += [("HINCRBY", keys.totals(), name, by) for name, by in counters.items()]
        await self._pipeline.run(commands)

    async def read(self) -> list[OrderMarker]:
        """The line of every open order.

        Redis: HVALS, one round trip.
        """
        with translate_redis_errors():
            rows = await self._redis.hvals(keys.board())
        markers: list[OrderMarker] = []
        for start in range(0, len(rows), DECODE_BATCH):
            markers += map(_decoder.decode, rows[start : start + DECODE_BATCH])
            # Thousands of lines at once would delay positions.
            await asyncio.sleep(0)
        return markers

    async def totals(self, now_ms: int) -> Totals:
        """The counters, with the number of open orders and of the riders on live nodes.

        Redis: HGETALL, HLEN and HVALS, one round trip.
        """
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(keys.totals())
                pipe.hlen(keys.board())
                pipe.hvals(keys.node_reports())
                counters, order_count, reports = await pipe.execute()
        known = {field.encode_name for field in msgspec.structs.fields(Totals)}
        values = {n.decode(): int(v) for n, v in counters.items() if n.decode() in known}
        derived = {"ordersOpen": order_count, "ridersOnline": count_riders(reports, now_ms)}
        return msgspec.convert({**values, **derived}, Totals)


def parse_line(message: bytes) -> OrderMarker:
    """A line from a message of the board's channel."""
    return _decoder.decode(message)
