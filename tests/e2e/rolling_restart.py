"""Three servers are restarted one after the other: `python -m tests.e2e.rolling_restart`.

Apps come through a small balancer and are told events all the while; one JSON line.
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
# Six hundred events a second to three thousand apps: far more than their orders would bring.
PUBLISH_EVERY_S = 0.1
PROBE_EVERY_S = 0.1
CHUNK_BYTES = 65_536
# Source: promises, all back within 10 s, a server ends within 30.
RECONNECT_S_MAX, EXIT_S_MAX = 10.0, 30.0


class Size(NamedTuple):
    """How much is done. Units: seconds."""

    sockets: int
    spread_s: float
    publish_every_s: float = PUBLISH_EVERY_S


class Balancer:
    """Hands each new connection to the next server that says it is ready."""

    def __init__(self, running: Fleet) -> None:
        self._fleet = running
        self._ready: list[Node] = []
        self._next_index = count()
        self.url = ""

    async def probe(self) -> None:
        """Ask every server whether it takes traffic, for as long as it is let."""
        while True:
            nodes = [node for node in self._fleet.nodes if not node.server.has_ended]
            session = self._fleet.session
            answers = await asyncio.gather(*(is_ready(session, n.site.url) for n in nodes))
            self._ready = [n for n, is_up in zip(nodes, answers, strict=True) if is_up]
            await asyncio.sleep(PROBE_EVERY_S)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, there and back."""
        with suppress(OSError):
            if ready := self._ready:
                node = ready[next(self._next_index) % len(ready)]
                host, _, port = node.site.url.removeprefix("http://").partition(":")
                there, back = await asyncio.open_connection(host, int(port))
                await asyncio.gather(_copy_stream(reader, back), _copy_stream(there, writer))
        writer.close()


async def _copy_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        # The other way may have ended meanwhile; uvloop forgives no write after that.
        while (data := await reader.read(CHUNK_BYTES)) and not writer.is_closing():
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def start_balancer(running: Fleet) -> AsyncIterator[Balancer]:
    """A balancer in front of the fleet."""
    balancer = Balancer(running)
    probing = asyncio.ensure_future(balancer.probe())
    door = await asyncio.start_server(balancer.forward, "127.0.0.1", 0, backlog=4096)
    balancer.url = f"http://127.0.0.1:{door.sockets[0].getsockname()[1]}"
    try:
        yield balancer
    finally:
        door.close()
        await cancel(probing)


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """All servers go and come again, under the eyes of their apps."""
    spread = {"DRAIN_SPREAD_S": str(size.spread_s)}
    async with (
        fleet(folder, ["all"] * NODES, **spread) as running,
        open_publisher(running) as publisher,
        start_balancer(running) as balancer,
        connect_listeners(running, [balancer.url], size.sockets, seed) as listeners,
        report_progress("rolling_restart", partial(_progress, running, listeners)),
    ):
        owners = [each.owner for each in listeners]
        # An app without a past cannot say where it stopped.
        await publisher.publish(owners)
        await wait_for(lambda: all(e.received for e in listeners), EXIT_S_MAX)
        saying = asyncio.ensure_future(
            publisher.publish_until_stopped(owners, random.Random(seed), size.publish_every_s)
        )
        exits_s, backs_s = [], []
        for node in list(running.nodes):
            before = sum(each.socket.connect_count for each in listeners)
            began_s = time.perf_counter()
            exits_s.append(await node.stop())
            await wait_for(lambda: all(e.socket.is_open for e in listeners), EXIT_S_MAX)
            backs_s.append(time.perf_counter() - began_s)
            assert sum(each.socket.connect_count for each in listeners) > before, "nobody was there"
            await running.launch()
        publisher.is_stopped = True
        await saying
        said = publisher.published
        await wait_for(
            lambda: all(e.received[-1:] == [said.get(e.owner, 0)] for e in listeners), EXIT_S_MAX
        )
        return count_losses(listeners, said) | {
            "exit_max_s": round(max(exits_s), 2),
            "back_max_s": round(max(backs_s), 2),
            "faults": sum(len(node.log_faults) for node in running.nodes),
        }


def _progress(running: Fleet, listeners: Sequence[Listener]) -> str:
    there = sum(each.socket.is_open for each in listeners)
    return f"server {len(running.nodes)}, {there} of {len(listeners)} apps are there"


def is_good(figures: dict[str, Any]) -> bool:
    """Whether the promises were kept."""
    wrong = ("lost", "twice", "disordered", "resyncs", "faults")
    return (
        figures["events"] > 0
        and not any(figures[name] for name in wrong)
        and figures["back_max_s"] <= RECONNECT_S_MAX
        and figures["exit_max_s"] <= EXIT_S_MAX
    )


def main() -> None:
    """The command."""
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
    given = parser.parse_args()
    size = Size(given.sockets, given.spread, given.say_every)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures = uvloop.run(measure(size, given.seed, Path(folder)))
    result = "kept" if is_good(figures) else "broken"
    print_result(
        "rolling_restart", {**size._asdict(), "seed": given.seed}, {**figures, "result": result}
    )
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
