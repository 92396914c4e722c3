"""The operators' board: one line per open order, and counters; display only."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from dispatch import keys
from dispatch.storage.pipeline import Command, Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts, translate_redis_errors
from dispatch.wire.events import OrderMarker, Totals

# Nodes report every second; one that was silent this long holds no riders any more.
NODE_TIMEOUT_MS = 5_000
# Every start is another node; those that have ended leave no line for ever.
NODE_EXPIRY_MS = 3600_000
# Lines that are read without a pause, which takes a millisecond.
DECODE_BATCH = 500

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(OrderMarker)


class BoardLine(msgspec.Struct, frozen=True):
    """One order on the board; `ended` says that it is shown a last time."""

    dot: OrderMarker
    ended: bool


class NodeReport(msgspec.Struct, frozen=True):
    """What one node counts each second. Units: Unix milliseconds."""

    at_ms: int
    fixes: int
    riders: int


class OperationsBoard:
    """Writes and reads the board."""

    def __init__(self, clients: RedisClients, scripts: Scripts) -> None:
        self._redis = clients.commands
        self._pipeline = Pipeline(clients.commands, scripts)

    async def post(self, lines: Sequence[BoardLine], counters: Mapping[str, int]) -> None:
        """Show the newest state of orders, and count.

        Redis: HSET or HDEL, SPUBLISH and HINCRBY, one pipeline; repeating may count twice.
        """
        if not lines and not counters:
            return
        commands: list[Command] = []
        for line in lines:
            text, order_id = _encoder.encode(line.dot), line.dot.order_id
            shown: Command = ("HSET", keys.board(), order_id, text)
            commands.append(("HDEL", keys.board(), order_id) if line.ended else shown)
            commands.append(("SPUBLISH", keys.board_channel(), text))
        commands += [("HINCRBY", keys.totals(), name, by) for name, by in counters.items()]
        await self._pipeline.run(commands)

    async def report(self, node: str, report: NodeReport) -> dict[str, int]:
        """Add one node's share of what cannot be counted by orders; when living nodes reported.

        Units: Unix milliseconds, each by its node's clock.

        Redis: HINCRBY, HSET and HGETALL, one round trip; HDEL where nodes have long gone.
        """
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                if report.fixes:
                    pipe.hincrby(keys.totals(), "fixes", report.fixes)
                pipe.hset(keys.node_reports(), node, f"{report.at_ms} {report.riders}")
                pipe.hgetall(keys.node_reports())
                told = (await pipe.execute())[-1]
            reported = {name: _reported_ms(said) for name, said in told.items()}
            gone = [name for name, ms in reported.items() if ms < report.at_ms - NODE_EXPIRY_MS]
            if gone:
                await self._redis.hdel(keys.node_reports(), *gone)
        alive_ms = report.at_ms - NODE_TIMEOUT_MS
        return {name.decode(): ms for name, ms in reported.items() if ms >= alive_ms}

    async def read(self) -> list[OrderMarker]:
        """Every open order's line.

        Redis: HVALS, one round trip.
        """
        with translate_redis_errors():
            rows = await self._redis.hvals(keys.board())
        dots: list[OrderMarker] = []
        for at in range(0, len(rows), DECODE_BATCH):
            dots += map(_decoder.decode, rows[at : at + DECODE_BATCH])
            # Thousands of lines in a row would keep positions waiting.
            await asyncio.sleep(0)
        return dots

    async def totals(self, now_ms: int) -> Totals:
        """The counters, with the lines as `orders_open` and the living nodes' riders.

        Redis: HGETALL twice and HLEN, one round trip.
        """
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(keys.totals())
                pipe.hlen(keys.board())
                pipe.hvals(keys.node_reports())
                counted, lines, pulses = await pipe.execute()
        known = {field.encode_name for field in msgspec.structs.fields(Totals)}
        values = {n.decode(): int(v) for n, v in counted.items() if n.decode() in known}
        derived = {"ordersOpen": lines, "ridersOnline": _count_riders(pulses, now_ms)}
        return msgspec.convert({**values, **derived}, Totals)


def _reported_ms(report: bytes) -> int:
    return int(report.partition(b" ")[0])


def _count_riders(reports: Sequence[bytes], now_ms: int) -> int:
    """The riders of nodes that have reported lately."""
    told = (tuple(map(int, pulse.split())) for pulse in reports)
    return sum(riders for at_ms, riders in told if now_ms - at_ms <= NODE_TIMEOUT_MS)


def parse_line(message: bytes) -> OrderMarker:
    """A line out of what `post` publishes."""
    return _decoder.decode(message)
