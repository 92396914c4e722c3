"""Lines break while events are said: `python -m tests.e2e.resume --clients 50 --drops 5`.

Whoever comes back gets exactly what he missed, or one `resync`; one JSON line. Full size:
--clients 500 --drops 50 --say-every 0.1
"""

import argparse
import asyncio
import random
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.common.result_line import print_result
from tests.e2e.fleet import fleet
from tests.e2e.listeners import Listener, connect_listeners, count_losses, open_publisher, wait_for
from tests.e2e.progress import report_progress

# Some of the clients are told something so often.
PUBLISH_EVERY_S = 0.02
# How long a hole of the network lasts, and how long one drop after the other is begun.
OUTAGE_S = 0.05
DROP_WITHIN_S = 0.5
RECONNECT_TIMEOUT_S = 20.0


class Size(NamedTuple):
    """How much is done. Units: seconds."""

    clients: int
    drops: int
    publish_every_s: float = PUBLISH_EVERY_S


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """Every client is dropped so often, on two servers, while all are told something."""
    rng = random.Random(seed)
    async with fleet(folder, ["all", "all"]) as running, open_publisher(running) as publisher:
        urls = [node.site.url for node in running.nodes]
        async with (
            connect_listeners(running, urls, size.clients, seed) as listeners,
            report_progress("resume", partial(_progress, listeners, size)),
        ):
            owners = [each.owner for each in listeners]
            # An app without a past cannot say where it stopped.
            await publisher.publish(owners)
            await wait_for(lambda: all(e.received for e in listeners), RECONNECT_TIMEOUT_S)
            saying = asyncio.ensure_future(
                publisher.publish_until_stopped(owners, rng, size.publish_every_s)
            )
            for drop in range(size.drops):
                for each in listeners:
                    await each.socket.wait_connected(drop + 1)
                    await asyncio.sleep(rng.uniform(0, 2 * DROP_WITHIN_S / size.clients))
                    each.socket.simulate_outage(OUTAGE_S)
            for each in listeners:
                await each.socket.wait_connected(size.drops + 1)
            publisher.is_stopped = True
            await saying
            said = publisher.published
            await wait_for(
                lambda: all(e.received[-1:] == [said[e.owner]] for e in listeners),
                RECONNECT_TIMEOUT_S,
            )
            figures: dict[str, Any] = count_losses(listeners, said)
            # Outside of the window: every inbox is gone while its owner is away.
            openings = [each.socket.connect_count for each in listeners]
            for each in listeners:
                each.socket.simulate_outage(2.0)
            for owner in owners:
                await publisher.delete_inbox(owner)
            for each, before in zip(listeners, openings, strict=True):
                await each.socket.wait_connected(before + 1)
            before = figures["resyncs"]
            await wait_for(
                lambda: sum(e.resyncs for e in listeners) >= before + len(owners),
                RECONNECT_TIMEOUT_S,
            )
            figures["outside"] = len(listeners)
            figures["outside_resyncs"] = sum(e.resyncs for e in listeners) - before
            return figures | {"faults": sum(len(node.log_faults) for node in running.nodes)}


def _progress(listeners: Sequence[Listener], size: Size) -> str:
    again = sum(each.socket.connect_count - 1 for each in listeners)
    return f"back {again} times, of {size.clients * size.drops}"


def is_good(figures: dict[str, Any]) -> bool:
    """Whether the promises were kept."""
    wrong = ("lost", "twice", "disordered", "resyncs", "faults")
    return (
        figures["events"] > 0
        and not any(figures[name] for name in wrong)
        and figures["outside_resyncs"] == figures["outside"]
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--drops", type=int, default=5)
    parser.add_argument("--say-every", type=float, default=PUBLISH_EVERY_S)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = Size(given.clients, given.drops, given.say_every)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures = uvloop.run(measure(size, given.seed, Path(folder)))
    result = "kept" if is_good(figures) else "broken"
    print_result("resume", {**size._asdict(), "seed": given.seed}, {**figures, "result": result})
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
