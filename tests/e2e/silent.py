"""Idle connection test: `python -m tests.e2e.silent --connections 5000`.

A third sends nothing, a third sends a header byte by byte, a third upgrades to a WebSocket, joins
no namespace and answers every ping. All must be closed in time. Prints one JSON line; exit 1 if one
is not.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.common.harness import RunningServer, quantile
from bench.common.result_line import print_result
from tests.e2e.fleet import fleet
from tests.e2e.process_stats import count_open_files

# Source: docs/promises.md.
CLOSED_S_MAX = 10.0
BYTE_EVERY_S = 1.0
CONCURRENT_CONNECTS = 200
_UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
# An Engine.IO pong in a masked frame whose mask is zero.
_PONG = b"\x81\x81\x00\x00\x00\x003"


async def _wait_until_closed(site: RunningServer, kind: int, semaphore: asyncio.Semaphore) -> float:
    """Connect, stay idle in one of three ways, and wait for the close; the time. Units: seconds."""
    host, _, port = site.url.removeprefix("http://").partition(":")
    async with semaphore:
        reader, writer = await asyncio.open_connection(host, int(port))
    began_s = time.perf_counter()
    header_task = asyncio.ensure_future(_send_slow_header(writer)) if kind == 1 else None
    if kind == 2:
        writer.write(_UPGRADE)
    try:
        while await reader.read(4096):
            # A pong after every read answers the pings among the data.
            writer.write(_PONG)
    except OSError:
        # An abort closes the connection as well.
        pass
    finally:
        if header_task is not None:
            header_task.cancel()
        writer.transport.abort()
    return time.perf_counter() - began_s


async def _send_slow_header(writer: asyncio.StreamWriter) -> None:
    """Send a header that never ends, one byte at a time."""
    writer.write(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
    while True:
        await asyncio.sleep(BYTE_EVERY_S)
        writer.write(b"a")


async def measure(connections: int, folder: Path) -> dict[str, Any]:
    """Open idle connections to one server and measure how long they stay open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 65_536)), hard))
    async with fleet(folder, ["all"]) as running:
        node = running.nodes[0]
        files_before = count_open_files(node.site.pid)
        semaphore = asyncio.Semaphore(CONCURRENT_CONNECTS)
        jobs = [
            _wait_until_closed(node.site, number % 3, semaphore) for number in range(connections)
        ]
        try:
            async with asyncio.timeout(6 * CLOSED_S_MAX):
                open_times_s = await asyncio.gather(*jobs)
        except TimeoutError:
            open_times_s = [6 * CLOSED_S_MAX]
        return {
            "connections": connections,
            "closed_p50_s": round(quantile(open_times_s, 0.5), 2),
            "closed_max_s": round(max(open_times_s), 2),
            "files_added": count_open_files(node.site.pid) - files_before,
            "faults": len(node.log_faults),
        }


def is_good(figures: dict[str, Any], slack: float = 1.0) -> bool:
    """Whether the promise holds; `slack` multiplies the time limit on a shared machine."""
    return (
        figures["closed_max_s"] <= CLOSED_S_MAX * slack
        and figures["files_added"] <= 40
        and not figures["faults"]
    )


def main() -> None:
    """Run the test and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=5_000, help="5000 is the full size")
    parser.add_argument("--seed", type=int, default=1, help="unused; part of the printed result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reeyo-silent-") as folder:
        figures = uvloop.run(measure(options.connections, Path(folder)))
    print_result("silent", vars(options), figures)
    if not is_good(figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
