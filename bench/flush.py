"""Cost of writing a batch of positions to Redis: the product, the library, and bare bytes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import hiredis
from redis.asyncio import Redis

from bench.common.harness import BenchFailed
from bench.engines.raw_baseline import ProductStack
from dispatch.model import Position
from dispatch.storage.pipeline import Pipeline
from dispatch.storage.redis_client import open_redis
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import Positions, PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from dispatch.wire.events import LatLng, RiderLocationUpdate
from dispatch.wire.frames import encode_event

READ_BYTES = 65_536
LOST_MS = 45_000


class _RecordingProxy:
    """TCP proxy before Redis that records what is sent, so that it can be sent again unchanged."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self.recorded = b""

    async def proxy_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Copy one client's connection to Redis and back until the client closes it."""
        from_redis, to_redis = await asyncio.open_connection(*self._address)
        replies = asyncio.create_task(_copy_stream(from_redis, writer))
        while sent := await reader.read(READ_BYTES):
            self.recorded += sent
            to_redis.write(sent)
        to_redis.close()
        await replies


class _RawConnection:
    """A connection that sends ready bytes and counts the replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, packed: bytes, count: int) -> None:
        """Send the commands and wait for as many replies.

        Errors: BenchFailed on an error reply.
        """
        self._writer.write(packed)
        parser, answered = hiredis.Reader(), 0
        while answered < count:
            parser.feed(await self._reader.read(READ_BYTES))
            while (answer := parser.gets()) is not False:
                if isinstance(answer, Exception):
                    raise BenchFailed(str(answer))
                answered += 1

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


@dataclass(slots=True)
class _Elapsed:
    """Total time of one kind of write. Units: seconds."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    async def time_flush(self, flush: Awaitable[object], *, is_measured: bool) -> None:
        began_s, used_s = time.perf_counter(), time.process_time()
        await flush
        if is_measured:
            self.wall_s += time.perf_counter() - began_s
            self.cpu_s += time.process_time() - used_s


async def measure_flush(product: ProductStack, riders: int, rounds: int) -> dict[str, object]:
    """Write the same commands in three ways, in turns.

    The first round is not measured: it opens connections and creates keys. Units: microseconds a
    rider.
    """
    redis = product.redis.commands
    address = redis.connection_pool.connection_kwargs
    host, port = address["host"], address["port"]
    by_product, by_library, bare = _Elapsed(), _Elapsed(), _Elapsed()
    positions = Positions(Pipeline(redis, product.scripts), product.scripts, "bench", LOST_MS)
    connection = _RawConnection(*await asyncio.open_connection(host, port))
    async with _recording_client(host, port) as (proxy, client):
        recorded = Positions(Pipeline(client, product.scripts), product.scripts, "bench", LOST_MS)
        for step in range(rounds + 1):
            batch = [_position_update(number, step) for number in range(riders)]
            proxy.recorded = b""
            await recorded.put(batch)
            commands, counts = parse_commands(proxy.recorded), step > 0
            await by_product.time_flush(positions.put(batch), is_measured=counts)
            await by_library.time_flush(_send_by_library(redis, commands), is_measured=counts)
            sending = connection.send(proxy.recorded, len(commands))
            await bare.time_flush(sending, is_measured=counts)
    connection.close()
    per_rider = 1e6 / (riders * rounds)
    return {
        "flush_us_per_rider": round(by_product.wall_s * per_rider, 2),
        "flush_cpu_us_per_rider": round(by_product.cpu_s * per_rider, 2),
        "flush_library_us_per_rider": round(by_library.wall_s * per_rider, 2),
        "flush_bare_us_per_rider": round(bare.wall_s * per_rider, 2),
        "flush_to_bare": round(by_product.wall_s / bare.wall_s, 3),
    }


@asynccontextmanager
async def _recording_client(host: str, port: int) -> AsyncIterator[tuple[_RecordingProxy, Redis]]:
    """A recording proxy, and a client that is connected through it."""
    proxy = _RecordingProxy(host, port)
    server = await asyncio.start_server(proxy.proxy_connection, "127.0.0.1", 0)
    async with server, open_redis(f"redis://127.0.0.1:{_port(server)}") as clients:
        yield proxy, clients.commands


def _port(server: asyncio.Server) -> int:
    return server.sockets[0].getsockname()[1]


async def _copy_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(READ_BYTES):
        writer.write(data)
    writer.close()


def parse_commands(packed: bytes) -> list[list[bytes]]:
    """The commands in a recorded byte stream. Shapes: whole commands of RESP."""
    parser = hiredis.Reader()
    parser.feed(packed)
    commands: list[list[bytes]] = []
    while (command := parser.gets()) is not False:
        commands.append(command)
    return commands


async def _send_by_library(redis: Redis, commands: Sequence[Sequence[bytes]]) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        await pipe.execute()


def _position_update(number: int, step: int) -> PositionUpdate:
    """The position of a rider with an order, 30 m from that of the step before."""
    now_ms = int(time.time() * 1000)
    rider, order = f"rdr_{number}", f"ord_{number}"
    lat, lng = 4.0 + number % 100 * 0.001 + step * 0.00027, 9.7 + number // 100 * 0.001
    position = Position(
        lat=lat,
        lng=lng,
        ts=now_ms,
        received_at=now_ms,
        heading=0.0,
        speed=8.0,
        accuracy=6.0,
        seq=step,
    )
    update = RiderLocationUpdate(
        order_id=order,
        rider_id=rider,
        location=LatLng(lat, lng),
        heading=0.0,
        speed=8.0,
        accuracy=6.0,
        ts=now_ms,
        received_at=now_ms,
        state="live",
    )
    return PositionUpdate(
        rider_id=rider,
        position=position,
        facts=RiderFacts(available=True, active=1),
        cell=cell_of(lat, lng),
        trail=[(order, position)],
        packets=[(order, encode_event("/user", update))],
    )
