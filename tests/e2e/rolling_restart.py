"""Rolling restart test: restarts three servers in turn. `python -m tests.e2e.rolling_restart`.

Clients connect through a small load balancer and receive events meanwhile. Prints one JSON line.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.common.result_line import print_result
from city.demo.server_process import is_ready
from tests.e2e.fleet import Fleet, Node, cancel, fleet
from tests.e2e.listeners import Listener, connect_listeners, count_losses, open_publisher, wait_for
from tests.e2e.progress import report_progress

NODES = 3
# Six hundred events a second to three thousand clients: far more than their orders would cause.
PUBLISH_EVERY_S = 0.1
PROBE_EVERY_S = 0.1
CHUNK_BYTES = 65_536
# Source: docs/promises.md, all reconnected within 10 s, a server exits within 30.
RECONNECT_S_MAX, EXIT_S_MAX = 10.0, 30.0


class Size(NamedTuple):
    """Size of a run. Units: seconds."""

    sockets: int
    spread_s: float
    publish_every_s: float = PUBLISH_EVERY_S


class Balancer:
    """Load balancer: passes each new connection to the next server that is ready."""

    def __init__(self, running: Fleet) -> None:
        self._fleet = running
        self._ready: list[Node] = []
        self._next_index = count()
        self.url = ""

    async def probe(self) -> None:
        """Probe every server's readiness until cancelled."""
        while True:
            nodes = [node for node in self._fleet.nodes if not node.server.has_ended]
            session = self._fleet.session
            answers = await asyncio.gather(*(is_ready(session, n.site.url) for n in nodes))
            self._ready = [n for n, is_up in zip(nodes, answers, strict=True) if is_up]
            await asyncio.sleep(PROBE_EVERY_S)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection in both directions."""
        with suppress(OSError):
            if ready := self._ready:
                node = ready[next(self._next_index) % len(ready)]
                host, _, port = node.site.url.removeprefix("http://").partition(":")
                server_reader, server_writer = await asyncio.open_connection(host, int(port))
                await asyncio.gather(
                    _copy_stream(reader, server_writer), _copy_stream(server_reader, writer)
                )
        writer.close()


async def _copy_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        # The other direction may have closed it meanwhile; uvloop raises on a write after that.
        while (data := await reader.read(CHUNK_BYTES)) and not writer.is_closing():
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def start_balancer(running: Fleet) -> AsyncIterator[Balancer]:
    """Run a load balancer in front of the fleet."""
    balancer = Balancer(running)
    probing = asyncio.ensure_future(balancer.probe())
    listener = await asyncio.start_server(balancer.forward, "127.0.0.1", 0, backlog=4096)
    balancer.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield balancer
    finally:
        listener.close()
        await cancel(probing)


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """Stop and replace every server while clients are connected."""
    spread = {"DRAIN_SPREAD_S": str(size.spread_s)}
    async with (
        fleet(folder, ["all"] * NODES, **spread) as servers,
        open_publisher(servers) as publisher,
        start_balancer(servers) as balancer,
        connect_listeners(servers, [balancer.url], size.sockets, seed) as listeners,
        report_progress("rolling_restart", partial(_progress, servers, listeners)),
    ):
        owners = [listener.owner for listener in listeners]
        # A client that has received nothing yet has no position to resume from.
        await publisher.publish(owners)
        await wait_for(lambda: all(listener.received for listener in listeners), EXIT_S_MAX)
        publishing = asyncio.ensure_future(
            publisher.publish_until_stopped(owners, random.Random(seed), size.publish_every_s)
        )
        exit_times_s, reconnect_times_s = [], []
        for node in list(servers.nodes):
            connects_before = sum(listener.socket.connect_count for listener in listeners)
            began_s = time.perf_counter()
            exit_times_s.append(await node.stop())
            await wait_for(
                lambda: all(listener.socket.is_open for listener in listeners), EXIT_S_MAX
            )
            reconnect_times_s.append(time.perf_counter() - began_s)
            assert sum(listener.socket.connect_count for listener in listeners) > connects_before, (
                "nobody was there"
            )
            await servers.launch()
        publisher.is_stopped = True
        await publishing
        published = publisher.published
        await wait_for(
            lambda: all(
                listener.received[-1:] == [published.get(listener.owner, 0)]
                for listener in listeners
            ),
            EXIT_S_MAX,
        )
        return count_losses(listeners, published) | {
            "exit_max_s": round(max(exit_times_s), 2),
            "back_max_s": round(max(reconnect_times_s), 2),
            "faults": sum(len(node.log_faults) for node in servers.nodes),
        }


def _progress(running: Fleet, listeners: Sequence[Listener]) -> str:
    connected = sum(listener.socket.is_open for listener in listeners)
    return f"server {len(running.nodes)}, {connected} of {len(listeners)} apps are there"


def is_good(figures: dict[str, Any]) -> bool:
    """Whether the promises hold: nothing is lost, and servers and clients are back in time."""
    return (
        loses_nothing(figures)
        and figures["back_max_s"] <= RECONNECT_S_MAX
        and figures["exit_max_s"] <= EXIT_S_MAX
    )


def loses_nothing(figures: dict[str, Any]) -> bool:
    """Whether every event arrived once and in order, without a resync.

    This does not depend on how fast the machine is.
    """
    wrong = ("lost", "duplicated", "out_of_order", "resyncs", "faults")
    return figures["events"] > 0 and not any(figures[name] for name in wrong)


def main() -> None:
    """Run the test and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=150)
    parser.add_argument("--spread", type=float, default=6.0, help="as servers have it by default")
    parser.add_argument(
        "--say-every",
        type=float,
        default=PUBLISH_EVERY_S,
        help="seconds between rounds of 64 events",
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    size = Size(options.sockets, options.spread, options.say_every)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures = uvloop.run(measure(size, options.seed, Path(folder)))
    result = "kept" if is_good(figures) else "broken"
    print_result(
        "rolling_restart", {**size._asdict(), "seed": options.seed}, {**figures, "result": result}
    )
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
