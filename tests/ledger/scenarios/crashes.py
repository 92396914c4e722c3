"""Kills the process at every await of every flow, then lets another one find what is left.

`python -m tests.ledger.scenarios.crashes --seeds 20` is the full size (100 by hand).
"""

import asyncio
import sys
import time
from typing import NamedTuple

import click

from bench.common.result_line import print_line
from dispatch.errors import StoreUnavailable
from ledger.dynamodb.fake import Fault, Faults, Pace
from ledger.dynamodb.table import TableUnavailable
from tests import virtual_time
from tests.ledger.scenarios.auditor import breaks, unfinished
from tests.ledger.scenarios.flows import FLOWS, Flow, Subject
from tests.ledger.scenarios.process import Process
from tests.ledger.scenarios.random_choices import seeded
from tests.ledger.scenarios.shop import Node, Shop, quiet

# Source: ledger design, recovered within 60 s even after a kill.
RECOVERED_S = 60.0
# How often a client who got no answer asks again, and how often we look whether all is well.
AGAIN_S = 2.0
LOOK_S = 1.0
PACE = Pace(spread=0.5, index_lag_s=1.0)
# What else goes wrong while the flow runs, from the second seed on.
RATES = {Fault.CONFLICT: 0.1, Fault.LOSE_REPLY: 0.05, Fault.THROTTLE: 0.05, Fault.BREAK_LATE: 0.02}


class Crash(NamedTuple):
    """One run: where the process died (0: nowhere), what it came to. Units: virtual seconds."""

    flow: str
    seed: int
    at: int
    awaits: int
    recovered_s: float
    flaws: list[str]


async def _crash(flow: Flow, seed: int, at: int) -> Crash:
    shop = Shop(PACE)
    subject = await flow.before(await shop.open())
    shop.go_wrong(Faults(seed, RATES if seed > 1 else None))
    process = Process(at or None)
    await process.run(_tried(flow, shop.node(), subject))
    began_s = shop.clock.monotonic_s()
    recovered_s = await _recover(flow, shop, subject) - began_s
    items = shop.items()
    flaws = breaks(items)
    if not flow.ended(items, subject):
        flaws.append(f"{flow.name} has not come to its end")
    flaws += [f"{order_id} is not settled" for order_id in unfinished(items)]
    return Crash(flow.name, seed, at, process.awaits, recovered_s, flaws)


async def _recover(flow: Flow, shop: Shop, subject: Subject) -> float:
    """Sweep, and ask again where somebody would; returns when all was well."""
    node = shop.node()
    loops = (node.settler.sweep, node.payer.sweep, lambda: node.lapses.run(lambda: True))
    sweeps = [asyncio.ensure_future(loop()) for loop in loops]
    if flow.repeated:
        again = asyncio.ensure_future(_again(flow, node, subject))
        await asyncio.wait([again], timeout=RECOVERED_S)
        again.cancel()
    until_s = shop.clock.monotonic_s() + RECOVERED_S
    while not _is_well(flow, shop, subject) and shop.clock.monotonic_s() < until_s:
        await shop.clock.sleep(LOOK_S)
    for sweep in sweeps:
        sweep.cancel()
    ended_s = shop.clock.monotonic_s()
    # What is still on its way may undo nothing.
    await shop.clock.sleep(RECOVERED_S)
    return ended_s


async def _again(flow: Flow, node: Node, subject: Subject) -> None:
    while not await _tried(flow, node, subject):
        await virtual_time.clock().sleep(AGAIN_S)


async def _tried(flow: Flow, node: Node, subject: Subject) -> bool:
    try:
        await flow.act(node, subject)
    except (StoreUnavailable, TableUnavailable):
        return False
    return True


def _is_well(flow: Flow, shop: Shop, subject: Subject) -> bool:
    items = shop.items()
    return flow.ended(items, subject) and not unfinished(items)


def crash(flow: Flow, seed: int, at: int) -> Crash:
    """Let one flow die at its await of that number; 0 lets it live."""
    with seeded(seed):
        return virtual_time.run(_crash(flow, seed, at))


def crashes(flow: Flow, seed: int) -> list[Crash]:
    """One flow that lives, and then dies at each of its awaits in turn."""
    whole = crash(flow, seed, 0)
    return [whole, *(crash(flow, seed, at) for at in range(1, whole.awaits + 1))]


def is_kept(came: Crash) -> bool:
    """Whether the books are right and were so in time."""
    return not came.flaws and came.recovered_s <= RECOVERED_S


@click.command()
@click.option("--seeds", default=2, show_default=True, help="Full size: 20; by hand 100.")
@click.option("--seed", default=1, show_default=True, help="The first seed.")
@click.option("--flow", "only", default=None, help="One flow alone, by its name.")
def main(seeds: int, seed: int, only: str | None) -> None:
    """Kill the process at every await of every flow; the books must be right within a minute."""
    quiet()
    began_s = time.perf_counter()
    flows = [flow for flow in FLOWS if only in (None, flow.name)]
    came = [
        one
        for flow in flows
        for number in range(seed, seed + seeds)
        for one in crashes(flow, number)
    ]
    broken = [one for one in came if not is_kept(one)]
    figures: dict[str, object] = {
        "runs": len(came),
        "broken": len(broken),
        "first_broken": [one._asdict() for one in broken[:5]],
        "awaits": {flow.name: max(c.awaits for c in came if c.flow == flow.name) for flow in flows},
        "recovered_s_max": round(max(one.recovered_s for one in came), 1),
        "wall_s": round(time.perf_counter() - began_s, 1),
    }
    print_line("ledger_crashes", {"seeds": seeds, "seed": seed, "flows": len(flows)}, figures)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
