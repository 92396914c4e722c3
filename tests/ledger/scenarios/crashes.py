"""Crashes: kills the process at every await of every flow, then lets another one recover.

Full size: `python -m tests.ledger.scenarios.crashes --seeds 20` (100 by hand).
"""

import asyncio
import sys
import time
from typing import NamedTuple

import click

from bench.common.result_line import print_result
from dispatch.errors import StoreUnavailable
from ledger.dynamodb.fake import Fault, FaultInjector, Latencies
from ledger.dynamodb.table import TableUnavailable
from tests import virtual_time
from tests.ledger.scenarios.approval_flows import ALL_FLOWS
from tests.ledger.scenarios.auditor import find_breaks, unsettled_orders
from tests.ledger.scenarios.cluster import ServerCluster, ServerNode, silence_logs
from tests.ledger.scenarios.killable_process import KillableProcess
from tests.ledger.scenarios.money_flows import MoneyFlow, Subject
from tests.ledger.scenarios.seeded_randomness import seed_randomness

# Source: docs/promises.md, recovered within 60 s even after a kill.
RECOVERY_S_MAX = 60.0
# How often a client without an answer repeats its request, and how often the items are checked.
RETRY_S = 2.0
POLL_S = 1.0
LATENCIES = Latencies(spread=0.5, index_lag_s=1.0)
# Faults injected while the flow runs, from the second seed on.
RATES = {
    Fault.CONFLICT: 0.1,
    Fault.LOSE_REPLY: 0.05,
    Fault.THROTTLE: 0.05,
    Fault.INTERNAL_ERROR_LATE: 0.02,
}


class CrashRun(NamedTuple):
    """One run: at which await the process died (0: it did not), and the result.

    Units: virtual seconds.
    """

    flow: str
    seed: int
    died_at_await: int
    awaits: int
    recovered_s: float
    breaks: list[str]


async def _run_with_crash(flow: MoneyFlow, seed: int, died_at_await: int) -> CrashRun:
    cluster = ServerCluster(LATENCIES)
    subject = await flow.prepare(await cluster.start())
    cluster.inject_faults(FaultInjector(seed, RATES if seed > 1 else None))
    process = KillableProcess(died_at_await or None)
    await process.run(_try_once(flow, cluster.add_node(), subject))
    began_s = cluster.clock.monotonic_s()
    recovered_s = await _recover(flow, cluster, subject) - began_s
    items = cluster.items()
    breaks = find_breaks(items)
    if not flow.is_done(items, subject):
        breaks.append(f"{flow.name} did not end")
    breaks += [f"{order_id} is not settled" for order_id in unsettled_orders(items)]
    return CrashRun(flow.name, seed, died_at_await, process.awaits, recovered_s, breaks)


async def _recover(flow: MoneyFlow, cluster: ServerCluster, subject: Subject) -> float:
    """Run the sweeps, and repeat the request if its client would; when all was recovered.

    Units: virtual seconds.
    """
    node = cluster.add_node()
    loops = (
        node.settlement_worker.sweep,
        node.payouts.submitter.sweep,
        lambda: node.order_timeouts.run(lambda: True),
    )
    sweeps = [asyncio.ensure_future(loop()) for loop in loops]
    if flow.is_retried:
        retries = asyncio.ensure_future(_retry_until_done(flow, node, subject))
        await asyncio.wait([retries], timeout=RECOVERY_S_MAX)
        retries.cancel()
    until_s = cluster.clock.monotonic_s() + RECOVERY_S_MAX
    while not _is_recovered(flow, cluster, subject) and cluster.clock.monotonic_s() < until_s:
        await cluster.clock.sleep(POLL_S)
    for sweep in sweeps:
        sweep.cancel()
    ended_s = cluster.clock.monotonic_s()
    # Requests that are still on their way may not undo anything.
    await cluster.clock.sleep(RECOVERY_S_MAX)
    return ended_s


async def _retry_until_done(flow: MoneyFlow, node: ServerNode, subject: Subject) -> None:
    while not await _try_once(flow, node, subject):
        await virtual_time.clock().sleep(RETRY_S)


async def _try_once(flow: MoneyFlow, node: ServerNode, subject: Subject) -> bool:
    try:
        await flow.run(node, subject)
    except (StoreUnavailable, TableUnavailable):
        return False
    return True


def _is_recovered(flow: MoneyFlow, cluster: ServerCluster, subject: Subject) -> bool:
    items = cluster.items()
    return flow.is_done(items, subject) and not unsettled_orders(items)


def run_with_crash(flow: MoneyFlow, seed: int, died_at_await: int) -> CrashRun:
    """Run one flow that dies at its await of that number; 0: it does not die."""
    with seed_randomness(seed):
        return virtual_time.run(_run_with_crash(flow, seed, died_at_await))


def run_with_all_crashes(flow: MoneyFlow, seed: int) -> list[CrashRun]:
    """Run one flow to its end, and then once for each of its awaits, dying there."""
    whole = run_with_crash(flow, seed, 0)
    return [whole, *(run_with_crash(flow, seed, at) for at in range(1, whole.awaits + 1))]


def is_consistent(run: CrashRun) -> bool:
    """Whether the ledger is consistent and was so in time."""
    return not run.breaks and run.recovered_s <= RECOVERY_S_MAX


@click.command()
@click.option("--seeds", default=2, show_default=True, help="Full size: 20; by hand 100.")
@click.option("--seed", default=1, show_default=True, help="The first seed.")
@click.option("--flow", "only", default=None, help="One flow alone, by its name.")
def main(seeds: int, seed: int, only: str | None) -> None:
    """Kill the process at every await of every flow; the ledger must be consistent in a minute."""
    silence_logs()
    began_s = time.perf_counter()
    flows = [flow for flow in ALL_FLOWS if only in (None, flow.name)]
    results = [
        one
        for flow in flows
        for number in range(seed, seed + seeds)
        for one in run_with_all_crashes(flow, number)
    ]
    broken = [one for one in results if not is_consistent(one)]
    figures: dict[str, object] = {
        "runs": len(results),
        "broken": len(broken),
        "first_broken": [one._asdict() for one in broken[:5]],
        "awaits": {
            flow.name: max(c.awaits for c in results if c.flow == flow.name) for flow in flows
        },
        "recovered_s_max": round(max(one.recovered_s for one in results), 1),
        "wall_s": round(time.perf_counter() - began_s, 1),
    }
    print_result("ledger_crashes", {"seeds": seeds, "seed": seed, "flows": len(flows)}, figures)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
