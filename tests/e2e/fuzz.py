"""Fuzz test: malformed frames at a real server. `python -m tests.e2e.fuzz --frames 1000000`.

A well-behaved client is answered meanwhile. Prints one JSON line; exit 1 if a promise is broken.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import uvloop

from bench.common.harness import RunningServer, quantile
from bench.common.result_line import print_result
from city.client.tokens import UserType
from tests.e2e.bad_frames import AUDIENCES, FrameMutator, raw_frames
from tests.e2e.fleet import Fleet, fleet
from tests.e2e.process_stats import rss_bytes

# Source: docs/promises.md.
GROWTH_MAX = 0.05
LOG_BYTES_MAX = 200
CONTROL_P99_S_MAX = 1.0
# Share of frames after which pools, caches and metric series have reached their size.
WARM_UP_SHARE = 0.2
# After each batch the client checks that the server still answers; most connections end sooner.
BATCH = 8
BATCHES_PER_CONNECTION = 40
PROBE_ACK_ID = 424242
ANSWER_TIMEOUT_S = 20.0
RAW_SHARE = 0.3
CONNECTIONS = 8
ASK_EVERY_S = 0.05
_UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
USER_TYPES: dict[str, UserType] = {
    "user": "USER",
    "vendor": "VENDOR",
    "rider": "RIDER",
    "ops": "ADMIN",
}


@dataclass
class Run:
    """Counters of the frames sent, and what the well-behaved client saw."""

    site: RunningServer
    # Frames that the server has certainly read; `sent` also counts those behind a closed one.
    frames: int = 0
    sent: int = 0
    connections: int = 0
    raw_connections: int = 0
    control_answer_s: list[float] = field(default_factory=list)
    control_breaks: int = 0


class Baseline(NamedTuple):
    """Memory, log size and frame count after the warm-up. Units: bytes."""

    rss_bytes: int
    log_bytes: int
    frames: int


async def _attack(run: Run, mutator: FrameMutator, rng: random.Random, frame_count: int) -> None:
    while run.frames < frame_count:
        run.connections += 1
        with suppress(aiohttp.ClientError, OSError):
            if rng.random() < RAW_SHARE:
                await _send_garbage(run, rng)
            else:
                await _send_bad_packets(run, mutator, rng)


async def _send_bad_packets(run: Run, mutator: FrameMutator, rng: random.Random) -> None:
    """Send mutated packets until the server closes; count only those it has certainly read."""
    audience = rng.choice(AUDIENCES)
    url = f"{run.site.url}/socket.io/?EIO=4&transport=websocket"
    async with run.site.session.ws_connect(url, max_msg_size=0) as ws:
        token = run.site.signer.sign(USER_TYPES[audience], f"bad_{rng.randrange(50)}")
        await ws.send_str(f'40/{audience},{{"token":"{token}"}}')
        for _ in range(BATCHES_PER_CONNECTION):
            for _ in range(BATCH):
                frame = mutator.frame(audience)
                await (ws.send_bytes(frame) if isinstance(frame, bytes) else ws.send_str(frame))
            run.sent += BATCH
            await ws.send_str(f'42/{audience},{PROBE_ACK_ID}["probe"]')
            if not await _is_answered(ws, f"43/{audience},{PROBE_ACK_ID}["):
                # One of the batch ended the connection; the frames behind it were not read.
                run.frames += 1
                return
            run.frames += BATCH


async def _is_answered(ws: aiohttp.ClientWebSocketResponse, ack_prefix: str) -> bool:
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        async for message in ws:
            if message.type is not aiohttp.WSMsgType.TEXT:
                return False
            if message.data == "2":
                await ws.send_str("3")
            if message.data.startswith(ack_prefix):
                return True
    return False


async def _send_garbage(run: Run, rng: random.Random) -> None:
    """Send random bytes, or broken WebSocket frames after a valid upgrade."""
    host, _, port = run.site.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        if rng.random() < 0.3:
            writer.write(rng.randbytes(rng.randint(1, 300)) + b"\r\n\r\n")
            run.frames += 1
        else:
            frames = raw_frames(rng)
            await _write_in_pieces(writer, _UPGRADE + frames, rng)
            # How many frames the server sees in them is unknown, so they count as one.
            run.frames += 1
        run.raw_connections += 1
        await writer.drain()
        if rng.random() < 0.3:
            # Half-closed: this side sends nothing more but may still read.
            writer.write_eof()
        # Some garbage is the beginning of a valid request, so there may be no answer.
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.read(4096)
    finally:
        writer.transport.abort()


async def _write_in_pieces(writer: asyncio.StreamWriter, data: bytes, rng: random.Random) -> None:
    """Write the data in random pieces, as a network may, or at once."""
    offset, piece_max = 0, rng.choice((1, 7, 200, len(data)))
    while offset < len(data) and not writer.is_closing():
        size = rng.randint(1, piece_max) if piece_max > 1 or offset < 400 else len(data)
        writer.write(data[offset : offset + size])
        offset += size
        if rng.random() < 0.1:
            await writer.drain()
            await asyncio.sleep(0)


@asynccontextmanager
async def _run_control(run: Run) -> AsyncIterator[None]:
    """Keep a well-behaved rider's client running beside the attack."""

    async def send_commands() -> None:
        client = await run.site.connect(("RIDER", "rdr_control"), lambda _n, _d, _s: None)
        try:
            while True:
                began_s = time.perf_counter()
                await client.call("set_availability", {"available": True})
                run.control_answer_s.append(time.perf_counter() - began_s)
                await asyncio.sleep(ASK_EVERY_S)
        finally:
            client.close()

    task = asyncio.ensure_future(send_commands())
    try:
        yield
    finally:
        # If the client failed, that is the finding; its exception is not raised here.
        run.control_breaks += task.done()
        task.cancel()
        await asyncio.wait([task])


async def measure(frames: int, seed: int, folder: Path) -> dict[str, Any]:
    """Send frames to one server from eight misbehaving clients."""
    # Without rate limits, which would refuse most frames before they are decoded.
    async with fleet(folder, ["all"], RATE_LIMITS="off") as running:
        run = Run(running.nodes[0].site)
        async with _run_control(run):
            await _attack_concurrently(run, seed, int(frames * WARM_UP_SHARE))
            log = running.nodes[0].server.log
            before = Baseline(rss_bytes(run.site.pid), log.stat().st_size, run.frames)
            await _attack_concurrently(run, seed + 1, frames)
        return _figures(run, running, before)


async def _attack_concurrently(run: Run, seed: int, frame_count: int) -> None:
    jobs = (
        _attack(run, FrameMutator(seed * 100 + n), random.Random(seed * 100 + n), frame_count)
        for n in range(CONNECTIONS)
    )
    await asyncio.gather(*jobs)


def _figures(run: Run, running: Fleet, before: Baseline) -> dict[str, Any]:
    node = running.nodes[0]
    logged = node.server.log.stat().st_size - before.log_bytes
    return {
        "frames": run.frames,
        "sent": run.sent,
        "connections": run.connections,
        "raw_connections": run.raw_connections,
        "crashes": int(node.server.has_ended),
        "tracebacks": len(node.log_faults),
        "rss_mib": round(before.rss_bytes / 2**20, 1),
        "rss_growth": round(rss_bytes(run.site.pid) / before.rss_bytes - 1, 4),
        "log_bytes_per_frame": round(logged / max(1, run.frames - before.frames), 2),
        "control_answers": len(run.control_answer_s),
        "control_breaks": run.control_breaks,
        "control_p99_ms": round(quantile(run.control_answer_s, 0.99) * 1000, 1),
    }


def is_good(figures: dict[str, Any], slack: float = 1.0) -> bool:
    """Whether the promises hold; `slack` multiplies the time limit on a shared machine."""
    return (
        figures["frames"] > 0
        and not any(figures[name] for name in ("crashes", "tracebacks", "control_breaks"))
        and figures["rss_growth"] <= GROWTH_MAX
        and figures["log_bytes_per_frame"] <= LOG_BYTES_MAX
        and figures["control_p99_ms"] <= CONTROL_P99_S_MAX * 1000 * slack
    )


def main() -> None:
    """Fuzz one server and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=50_000, help="1000000 is the full size")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reeyo-fuzz-") as folder:
        figures = uvloop.run(measure(options.frames, options.seed, Path(folder)))
    print_result("fuzz", vars(options), figures)
    if not is_good(figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
