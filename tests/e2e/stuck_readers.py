"""Slow consumer test: clients that never read. `python -m tests.e2e.stuck_readers --readers 100`.

They send commands and read no answers. Each is disconnected in time and leaves nothing behind, and
a client that reads is answered meanwhile. Prints one JSON line; exit 1 if a promise is broken.
"""

import argparse
import asyncio
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.common.client import TEXT, masked_frame
from bench.common.harness import RunningServer, quantile
from bench.common.result_line import print_result
from tests.e2e.fleet import fleet
from tests.e2e.process_stats import count_open_files, read_metric, rss_bytes

# Source: docs/promises.md.
DISCONNECT_S_MAX = 10.0
GROWTH_BYTES_MAX = 64 * 2**20
# The connection pools of the stores may have grown.
FILES_ADDED_MAX = 40
# Tasks that happen to run at the moment of the measurement.
TASKS_ADDED_MAX = 5
CONTROL_P99_S_MAX = 1.0
POLL_S = 0.1
# Commands per reader: their answers exceed the kernel's buffers and the send buffer.
COMMANDS_PER_READER = 4_000
SEND_EVERY_S = 0.05
RECEIVE_BUFFER_BYTES = 4096
SOCKETS_METRIC = 'reeyo_sockets{namespace="/rider"}'


def _connect_stuck_reader(site: RunningServer, number: int) -> socket.socket:
    """A joined socket that reads nothing from then on."""
    host, _, port = site.url.removeprefix("http://").partition(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    client.connect((host, int(port)))
    client.sendall(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    token = site.signer.sign("RIDER", f"rdr_stuck{number}")
    client.sendall(masked_frame(TEXT, f'40/rider,{{"token":"{token}"}}'.encode()))
    client.setblocking(False)
    return client


async def _send_commands(reader: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    commands = b"".join(
        masked_frame(TEXT, f'42/rider,{n}["fly",{{}}]'.encode()) for n in range(100)
    )
    try:
        for _ in range(COMMANDS_PER_READER // 100):
            async with asyncio.timeout(DISCONNECT_S_MAX):
                await loop.sock_sendall(reader, commands)
            await asyncio.sleep(SEND_EVERY_S)
    except (OSError, TimeoutError):
        # The server closed the connection, or stopped reading from it.
        return


async def _run_control(site: RunningServer, answer_s: list[float]) -> None:
    client = await site.connect(("RIDER", "rdr_control"), lambda _n, _d, _s: None)
    try:
        while True:
            began_s = time.perf_counter()
            await client.call("set_availability", {"available": True})
            answer_s.append(time.perf_counter() - began_s)
            await asyncio.sleep(POLL_S / 2)
    finally:
        client.close()


async def _wait_until_joined(site: RunningServer, sockets: int) -> None:
    # There is no event for the last join.
    while await read_metric(site, SOCKETS_METRIC) < sockets:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)


async def measure(readers: int, folder: Path) -> dict[str, Any]:
    """Connect stuck readers to a server that serves another client."""
    async with fleet(folder, ["all"]) as running:
        node = running.nodes[0]
        site, control_answer_s = node.site, []
        control = asyncio.ensure_future(_run_control(site, control_answer_s))
        await asyncio.sleep(1)
        rss_before, files_before = rss_bytes(site.pid), count_open_files(site.pid)
        tasks_before = await read_metric(site, "reeyo_tasks")
        stuck = [_connect_stuck_reader(site, number) for number in range(readers)]
        await _wait_until_joined(site, readers + 1)
        sending = asyncio.gather(*(_send_commands(reader) for reader in stuck))
        began_s, peak = time.perf_counter(), rss_before
        gone_s = None
        while time.perf_counter() - began_s < 3 * DISCONNECT_S_MAX:
            peak = max(peak, rss_bytes(site.pid))
            if await read_metric(site, SOCKETS_METRIC) <= 1:
                gone_s = time.perf_counter() - began_s
                break
            await asyncio.sleep(POLL_S)
        await sending
        for reader in stuck:
            reader.close()
        await asyncio.sleep(1)
        figures = {
            "readers": readers,
            "gone_s": None if gone_s is None else round(gone_s, 2),
            "rss_peak_mib": round((peak - rss_before) / 2**20, 1),
            "rss_after_mib": round((rss_bytes(site.pid) - rss_before) / 2**20, 1),
            "files_added": count_open_files(site.pid) - files_before,
            "tasks_added": await read_metric(site, "reeyo_tasks") - tasks_before,
            "sockets": await read_metric(site, SOCKETS_METRIC) - 1,
            "control_answers": len(control_answer_s),
            "control_p99_ms": round(quantile(control_answer_s, 0.99) * 1000, 1),
            "control_breaks": int(control.done()),
            "faults": len(node.log_faults),
        }
        control.cancel()
        await asyncio.wait([control])
        return figures


def is_good(figures: dict[str, Any], slack: float = 1.0) -> bool:
    """Whether the promises hold; `slack` multiplies the time limits on a shared machine."""
    gone_s = figures["gone_s"]
    return (
        gone_s is not None
        and gone_s <= DISCONNECT_S_MAX * slack
        and figures["rss_peak_mib"] * 2**20 <= GROWTH_BYTES_MAX
        and figures["files_added"] <= FILES_ADDED_MAX
        and figures["tasks_added"] <= TASKS_ADDED_MAX
        and figures["control_p99_ms"] <= CONTROL_P99_S_MAX * 1000 * slack
        and not any(figures[name] for name in ("sockets", "control_breaks", "faults"))
    )


def main() -> None:
    """Run the test and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=100, help="100 is the full size")
    parser.add_argument("--seed", type=int, default=1, help="unused; part of the printed result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reeyo-stuck-") as folder:
        figures = uvloop.run(measure(options.readers, Path(folder)))
    print_result("stuck_readers", vars(options), figures)
    if not is_good(figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
