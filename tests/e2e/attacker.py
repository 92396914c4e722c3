"""Flooding client, run as a process of its own: five kinds of flood against one server."""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import uvloop

from bench.common.client import PING, TEXT, masked_frame

# Frames are sent in bursts of one tick; a flooding client does not wait for answers.
TICK_S = 0.01
EVENTS_PER_S, PINGS_PER_S, CONNECTS_PER_S, BIG_PER_S = 5_000, 5_000, 200, 200
SLOW_CONNECTIONS = 300
BIG_BYTES = 100_000
# A source address of its own, so that no other client shares the attacker's limits.
LOCAL_ADDRESS = ("127.0.0.9", 0)
_UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_FIX = masked_frame(TEXT, b'42/rider,["location_update",{"lat":4.05,"lng":9.7}]')


@dataclass
class Flood:
    """Target and results of one flood. Units: seconds of the monotonic clock."""

    host: str
    port: int
    token: str
    until_s: float
    began_s: float
    sent: int = 0
    cuts: int = 0
    # Inputs that got no HTTP answer, and answers that say that the server failed.
    unanswered: int = 0
    failed: int = 0
    first_cut_s: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether the flood's time is over."""
        return time.perf_counter() >= self.until_s

    def record_cut(self) -> None:
        """Count a connection that the server closed or refused."""
        self.cuts += 1
        if self.first_cut_s is None:
            self.first_cut_s = time.perf_counter() - self.began_s


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(flood: Flood) -> Streams:
    """Open a connection from the attacker's address. Errors: OSError."""
    return await asyncio.open_connection(flood.host, flood.port, local_addr=LOCAL_ADDRESS)


async def _connect_and_join(flood: Flood) -> Streams:
    reader, writer = await connect(flood)
    writer.write(_UPGRADE)
    writer.write(masked_frame(TEXT, f'40/rider,{{"token":"{flood.token}"}}'.encode()))
    return reader, writer


async def _flood_frames(flood: Flood, frame: bytes, per_s: int) -> None:
    """Send a frame at a steady rate; reconnect each time the server closes the connection."""
    count = max(1, int(per_s * TICK_S))
    while not flood.is_over:
        with suppress(OSError):
            reader, writer = await _connect_and_join(flood)
            ended = asyncio.ensure_future(_read_all(reader))
            while not flood.is_over and not ended.done() and not writer.is_closing():
                writer.write(frame * count)
                flood.sent += count
                await asyncio.wait([ended], timeout=count / per_s)
            if not flood.is_over:
                flood.record_cut()
            ended.cancel()
            writer.transport.abort()


async def _read_all(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(65_536):
            pass


async def _flood_events(flood: Flood) -> None:
    await _flood_frames(flood, _FIX, EVENTS_PER_S)


async def _flood_pings(flood: Flood) -> None:
    await _flood_frames(flood, masked_frame(PING, b""), PINGS_PER_S)


async def _flood_big_frames(flood: Flood) -> None:
    await _flood_frames(flood, masked_frame(TEXT, b"4" * BIG_BYTES), BIG_PER_S)


async def _flood_connects(flood: Flood) -> None:
    """Connect, join and disconnect at a steady rate."""
    jobs: set[asyncio.Task[None]] = set()
    while not flood.is_over:
        jobs.add(asyncio.ensure_future(_join_and_leave(flood)))
        jobs = {job for job in jobs if not job.done()}
        await asyncio.sleep(1 / CONNECTS_PER_S)
    await asyncio.gather(*jobs)


async def _join_and_leave(flood: Flood) -> None:
    flood.sent += 1
    with suppress(OSError):
        reader, writer = await _connect_and_join(flood)
        if b" 429 " in await reader.read(4_096):
            flood.record_cut()
        writer.transport.abort()


async def _flood_slow_headers(flood: Flood) -> None:
    """Keep hundreds of requests open that never end; replace each one that is closed."""
    await asyncio.gather(*(_send_slow_header(flood) for _ in range(SLOW_CONNECTIONS)))


async def _send_slow_header(flood: Flood) -> None:
    while not flood.is_over:
        with suppress(OSError):
            reader, writer = await connect(flood)
            writer.write(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
            ended = asyncio.ensure_future(_read_all(reader))
            while not flood.is_over and not ended.done() and not writer.is_closing():
                writer.write(b"a")
                flood.sent += 1
                await asyncio.wait([ended], timeout=1.0)
            if not flood.is_over:
                flood.record_cut()
            ended.cancel()
            writer.transport.abort()


Kinds = Mapping[str, Callable[[Flood], Awaitable[None]]]
KINDS: Kinds = {
    "events": _flood_events,
    "connects": _flood_connects,
    "slow_headers": _flood_slow_headers,
    "big_frames": _flood_big_frames,
    "pings": _flood_pings,
}


async def _discard_input(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept a WebSocket or answer an HTTP request, and read and discard everything."""
    with suppress(OSError):
        while data := await reader.read(65_536):
            if b"websocket HTTP" in data:
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            elif b" HTTP/1" in data:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def run_flood(kinds: Kinds, kind: str, target: str, seconds: float) -> Flood:
    """Run one of `kinds` against a server, or against a local sink if `target` is "sink"."""
    sink = await asyncio.start_server(_discard_input, "127.0.0.1", 0)
    host, port = sink.sockets[0].getsockname()[:2]
    if target != "sink":
        host, _, port = target.removeprefix("http://").partition(":")
    now_s = time.perf_counter()
    token = os.environ.get("TOKEN", "")
    flood = Flood(host, int(port), token, now_s + seconds, now_s)
    await kinds[kind](flood)
    sink.close()
    return flood


def _print_json(result: object) -> None:
    sys.stdout.write(f"{json.dumps(result)}\n")
    sys.stdout.flush()


def serve_floods(kinds: Kinds) -> None:
    """Run one flood for each line on stdin and print its result as JSON.

    Shapes: a line is `kind target seconds`, where `target` is http://host:port or "sink".
    """
    # Starting this program keeps a core busy for a second, so the caller waits for this line.
    _print_json("ready")
    for line in sys.stdin:
        kind, target, seconds = line.split()
        flood = uvloop.run(run_flood(kinds, kind, target, float(seconds)))
        _print_json(
            {
                "sent": flood.sent,
                "cuts": flood.cuts,
                "first_cut_s": flood.first_cut_s,
                "unanswered": flood.unanswered,
                "failed": flood.failed,
            }
        )


def main() -> None:
    """Run floods as they are asked for."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    serve_floods(KINDS)


if __name__ == "__main__":
    main()
