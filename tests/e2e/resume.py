"""Resume test: drops connections while events flow. `python -m tests.e2e.resume --clients 50`.

A client that reconnects gets exactly what it missed, or one `resync`. Prints one JSON line. Full
size: --clients 500 --drops 50 --say-every 0.1
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

# Interval between batches of events.
PUBLISH_EVERY_S = 0.02
# Length of one outage, and the time over which a round of drops is spread.
OUTAGE_S = 0.05
DROP_WITHIN_S = 0.5
RECONNECT_TIMEOUT_S = 20.0


class Size(NamedTuple):
    """Size of a run. Units: seconds."""

    clients: int
    drops: int
    publish_every_s: float = PUBLISH_EVERY_S


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """Drop every client repeatedly, on two servers, while events are published to all."""
    rng = random.Random(seed)
    async with fleet(folder, ["all", "all"]) as servers, open_publisher(servers) as publisher:
        urls = [node.site.url for node in servers.nodes]
        async with (
            connect_listeners(servers, urls, size.clients, seed) as listeners,
            report_progress("resume", partial(_progress, listeners, size)),
        ):
            owners = [listener.owner for listener in listeners]
            # A client that has received nothing yet has no position to resume from.
            await publisher.publish(owners)
            await wait_for(
                lambda: all(listener.received for listener in listeners), RECONNECT_TIMEOUT_S
            )
            publishing = asyncio.ensure_future(
                publisher.publish_until_stopped(owners, rng, size.publish_every_s)
            )
            for drop in range(size.drops):
                for listener in listeners:
                    await listener.socket.wait_connected(drop + 1)
                    await asyncio.sleep(rng.uniform(0, 2 * DROP_WITHIN_S / size.clients))
                    listener.socket.simulate_outage(OUTAGE_S)
            for listener in listeners:
                await listener.socket.wait_connected(size.drops + 1)
            publisher.is_stopped = True
            await publishing
            published = publisher.published
            await wait_for(
                lambda: all(
                    listener.received[-1:] == [published[listener.owner]] for listener in listeners
                ),
                RECONNECT_TIMEOUT_S,
            )
            figures: dict[str, Any] = count_losses(listeners, published)
            # Beyond retention: every inbox is deleted while its owner is disconnected.
            connects_before = [listener.socket.connect_count for listener in listeners]
            for listener in listeners:
                listener.socket.simulate_outage(2.0)
            for owner in owners:
                await publisher.delete_inbox(owner)
            for listener, before in zip(listeners, connects_before, strict=True):
                await listener.socket.wait_connected(before + 1)
            resyncs_before = figures["resyncs"]
            await wait_for(
                lambda: (
                    sum(listener.resyncs for listener in listeners) >= resyncs_before + len(owners)
                ),
                RECONNECT_TIMEOUT_S,
            )
            figures["outside"] = len(listeners)
            figures["outside_resyncs"] = (
                sum(listener.resyncs for listener in listeners) - resyncs_before
            )
            return figures | {"faults": sum(len(node.log_faults) for node in servers.nodes)}


def _progress(listeners: Sequence[Listener], size: Size) -> str:
    reconnects = sum(listener.socket.connect_count - 1 for listener in listeners)
    return f"{reconnects} reconnects of {size.clients * size.drops}"


def is_good(figures: dict[str, Any]) -> bool:
    """Whether the promises hold."""
    wrong = ("lost", "duplicated", "out_of_order", "resyncs", "faults")
    return (
        figures["events"] > 0
        and not any(figures[name] for name in wrong)
        and figures["outside_resyncs"] == figures["outside"]
    )


def main() -> None:
    """Run the test and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--drops", type=int, default=5)
    parser.add_argument("--say-every", type=float, default=PUBLISH_EVERY_S)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    size = Size(options.clients, options.drops, options.say_every)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures = uvloop.run(measure(size, options.seed, Path(folder)))
    result = "kept" if is_good(figures) else "broken"
    print_result("resume", {**size._asdict(), "seed": options.seed}, {**figures, "result": result})
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
