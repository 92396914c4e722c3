"""The operators' board: one line per open order, and counters; display only."""

from collections.abc import Mapping, Sequence

import msgspec

from dispatch import keys
from dispatch.store.connect import RedisClients, translate
from dispatch.wire.events import OrderDot, Totals

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(OrderDot)


class Line(msgspec.Struct, frozen=True):
    """One order on the board; `ended` says that it is shown a last time."""

    dot: OrderDot
    ended: bool


class Board:
    """Writes and reads the board."""

    def __init__(self, clients: RedisClients) -> None:
        self._redis = clients.commands

    async def post(self, lines: Sequence[Line], tally: Mapping[str, int]) -> None:
        """Show the newest state of orders, and count.

        Redis: HSET or HDEL, PUBLISH and HINCRBY, one pipeline; repeating may count twice.
        """
        if not lines and not tally:
            return
        with translate():
            async with self._redis.pipeline(transaction=False) as pipe:
                for line in lines:
                    text = _encoder.encode(line.dot)
                    if line.ended:
                        pipe.hdel(keys.board(), line.dot.order_id)
                    else:
                        pipe.hset(keys.board(), line.dot.order_id, text)
                    pipe.publish(keys.board_channel(), text)
                for name, by in tally.items():
                    pipe.hincrby(keys.totals(), name, by)
                await pipe.execute()

    async def count(self, name: str, by: int) -> None:
        """Add to one counter.

        Redis: HINCRBY, one round trip.
        """
        with translate():
            await self._redis.hincrby(keys.totals(), name, by)

    async def read(self) -> list[OrderDot]:
        """Every open order's line.

        Redis: HGETALL, one round trip.
        """
        with translate():
            rows = await self._redis.hvals(keys.board())
        return [_decoder.decode(row) for row in rows]

    async def totals(self) -> Totals:
        """The counters, with the number of lines as `orders_open`.

        Redis: HGETALL and HLEN, one round trip.
        """
        with translate():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(keys.totals())
                pipe.hlen(keys.board())
                counted, lines = await pipe.execute()
        known = {field.encode_name for field in msgspec.structs.fields(Totals)}
        values = {n.decode(): int(v) for n, v in counted.items() if n.decode() in known}
        return msgspec.convert({**values, "ordersOpen": lines}, Totals)


def parse_line(message: bytes) -> OrderDot:
    """A line out of what `post` publishes."""
    return _decoder.decode(message)
