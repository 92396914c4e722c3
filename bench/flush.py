"""Bringing a batch of riders to Redis: our way, the library's, and the bare bytes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import hiredis
from redis.asyncio import Redis

from bench.common.harness import Failed
from bench.engines.raw_baseline import Ours
from dispatch.model import Position
from dispatch.storage.redis_client import open_redis
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import Placed, Positions
from dispatch.tracking.stores.rider_facts import Facts
from dispatch.wire.events import LatLng, RiderLocationUpdate
from dispatch.wire.frames import event_packet

READ_BYTES = 65_536
LOST_MS = 45_000


class _Tap:
    """Stands before Redis and notes what is sent, so that it can be sent again as it was."""

    def __init__(self, host: str, port: int) -> None:
        self._where = (host, port)
        self.noted = b""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's line to Redis, until the client hangs up."""
        from_redis, to_redis = await asyncio.open_connection(*self._where)
        back = asyncio.create_task(_pour(from_redis, writer))
        while sent := await reader.read(READ_BYTES):
            self.noted += sent
            to_redis.write(sent)
        to_redis.close()
        await back


class _Bare:
    """A connection that sends ready bytes and counts the answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, packed: bytes, count: int) -> None:
        """Send the commands, wait for as many answers."""
        self._writer.write(packed)
        parser, answered = hiredis.Reader(), 0
        while answered < count:
            parser.feed(await self._reader.read(READ_BYTES))
            while (answer := parser.gets()) is not False:
                if isinstance(answer, Exception):
                    raise Failed(str(answer))
                answered += 1

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


@dataclass(slots=True)
class _Way:
    """What one way has taken. Units: seconds."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    async def go(self, flush: Awaitable[object], *, counts: bool) -> None:
        began_s, used_s = time.perf_counter(), time.process_time()
        await flush
        if counts:
            self.wall_s += time.perf_counter() - began_s
            self.cpu_s += time.process_time() - used_s


async def flush(ours: Ours, riders: int, rounds: int) -> dict[str, object]:
    """The same commands by three ways, in turn; the first round only opens connections and cells.

    Units: microseconds a rider.
    """
    redis = ours.redis.commands
    where = redis.connection_pool.connection_kwargs
    our_way, library, bare_way = _Way(), _Way(), _Way()
    positions = Positions(redis, ours.scripts, "bench", LOST_MS)
    bare = _Bare(*await asyncio.open_connection(where["host"], where["port"]))
    async with _tapped(where["host"], where["port"]) as (tap, tapped):
        noted = Positions(tapped, ours.scripts, "bench", LOST_MS)
        for step in range(rounds + 1):
            batch = [_placed(number, step) for number in range(riders)]
            tap.noted = b""
            await noted.put(batch)
            commands, counts = _commands(tap.noted), step > 0
            await our_way.go(positions.put(batch), counts=counts)
            await library.go(_by_library(redis, commands), counts=counts)
            await bare_way.go(bare.send(tap.noted, len(commands)), counts=counts)
    bare.close()
    per_rider = 1e6 / (riders * rounds)
    return {
        "flush_us_per_rider": round(our_way.wall_s * per_rider, 2),
        "flush_cpu_us_per_rider": round(our_way.cpu_s * per_rider, 2),
        "flush_library_us_per_rider": round(library.wall_s * per_rider, 2),
        "flush_bare_us_per_rider": round(bare_way.wall_s * per_rider, 2),
        "flush_to_bare": round(our_way.wall_s / bare_way.wall_s, 3),
    }


@asynccontextmanager
async def _tapped(host: str, port: int) -> AsyncIterator[tuple[_Tap, Redis]]:
    """A client whose line to Redis is tapped."""
    tap = _Tap(host, port)
    server = await asyncio.start_server(tap.talk, "127.0.0.1", 0)
    async with server, open_redis(f"redis://127.0.0.1:{_port(server)}") as clients:
        yield tap, clients.commands


def _port(server: asyncio.Server) -> int:
    return server.sockets[0].getsockname()[1]


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while said := await reader.read(READ_BYTES):
        writer.write(said)
    writer.close()


def _commands(packed: bytes) -> list[list[bytes]]:
    """What was sent, command by command."""
    parser = hiredis.Reader()
    parser.feed(packed)
    commands: list[list[bytes]] = []
    while (command := parser.gets()) is not False:
        commands.append(command)
    return commands


async def _by_library(redis: Redis, commands: Sequence[Sequence[bytes]]) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        await pipe.execute()


def _placed(number: int, step: int) -> Placed:
    """A rider with an order, 30 m further than the step before."""
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
    return Placed(
        rider_id=rider,
        position=position,
        facts=Facts(available=True, active=1),
        cell=cell_of(lat, lng),
        trail=[(order, position)],
        packets=[(order, event_packet("/user", update))],
    )
