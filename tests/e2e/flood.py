"""Flood test: one client floods a server that others use. `python -m tests.e2e.flood --seconds 20`.

Floods of events, connects, headers that never end, big frames, and pings. The flooding client must
be cut, and the others' answers must hardly slow down: they are compared with those during the same
flood into a local sink, because on two cores the attacker's process takes one of them in both
cases. Prints one JSON line; exit 1 otherwise.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.common.client import SocketClient
from bench.common.harness import BenchFailed, RunningServer, quantile
from bench.common.result_line import print_result
from tests.e2e.attacker import KINDS
from tests.e2e.fleet import fleet

# Source: docs/promises.md.
RISE_MAX = 0.20
OTHER_CLIENTS = 40
ASK_EVERY_S = 0.2
# The most frequent command of riders; it needs no store, whose time would hide the effect.
FIX = {"lat": 4.05, "lng": 9.7}
ATTACKER_OVERHEAD_S = 20.0
# A flood of connects is refused only after five thousand connects of its address.
MAY_NOT_BE_CUT = frozenset({"connects", "slow_headers"})
ROOT = Path(__file__).parents[2]


class Size(NamedTuple):
    """Length of each kind of flood, number of phases, and kinds. Units: seconds.

    In a single phase some answer may be late by chance. So the phases are short, each is compared
    with the sink phase right before it, and the median counts.
    """

    seconds: float
    rounds: int = 11
    kinds: tuple[str, ...] = tuple(KINDS)


class Phase(NamedTuple):
    """Answer times of the other clients in one phase, and the attacker's result."""

    answer_s: list[float]
    flood_result: dict[str, Any]


async def _send_until_cancelled(client: SocketClient, answer_s: list[float]) -> None:
    while True:
        began_s = time.perf_counter()
        await client.call("location_update", FIX)
        answer_s.append(time.perf_counter() - began_s)
        await asyncio.sleep(ASK_EVERY_S)


class AttackerProcess:
    """The attacker's process, which floods on request."""

    def __init__(self, child: Process) -> None:
        self._child = child

    async def flood(self, kind: str, target: str, seconds: float) -> dict[str, Any]:
        """Run one flood; its result. Errors: BenchFailed if the process has ended."""
        assert self._child.stdin is not None, "the process has pipes"
        self._child.stdin.write(f"{kind} {target} {seconds}\n".encode())
        async with asyncio.timeout(seconds + ATTACKER_OVERHEAD_S):
            return await self.read_result()

    async def read_result(self) -> Any:
        """The next JSON line of the process. Errors: BenchFailed."""
        assert self._child.stdout is not None, "the process has pipes"
        line = await self._child.stdout.readline()
        if not line:
            raise BenchFailed("the attacker has ended")
        return json.loads(line)


@asynccontextmanager
async def start_attacker(
    site: RunningServer, module: str = "tests.e2e.attacker"
) -> AsyncIterator[AttackerProcess]:
    """The attacker's process, ready; killed at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TOKEN": site.signer.sign("RIDER", "rdr_attacker")},
    )  # fmt: skip
    try:
        attacker = AttackerProcess(process)
        await attacker.read_result()
        yield attacker
    finally:
        process.kill()
        await process.wait()


async def _run_phase(
    attacker: AttackerProcess, others: list[SocketClient], kind: str, target: str, seconds: float
) -> Phase:
    """Measure the other clients' answers during one flood."""
    answer_s: list[float] = []
    senders = [asyncio.ensure_future(_send_until_cancelled(client, answer_s)) for client in others]
    try:
        flood_result = await attacker.flood(kind, target, seconds)
    finally:
        failed = [task.exception() for task in senders if task.done()]
        for task in senders:
            task.cancel()
        await asyncio.wait(senders)
    if failed:
        raise BenchFailed(f"{kind} at {target}: {failed}")
    return Phase(answer_s, flood_result)


async def _compare(
    attacker: AttackerProcess, url: str, others: list[SocketClient], kind: str, size: Size
) -> dict[str, Any]:
    """Alternate floods of one kind into the sink and at the server, and compare the answers."""
    sink_p99_s, server_p99_s, flood_results = [], [], []
    for _ in range(size.rounds):
        for target, target_p99_s in (("sink", sink_p99_s), (url, server_p99_s)):
            phase = await _run_phase(attacker, others, kind, target, size.seconds / size.rounds)
            target_p99_s.append(quantile(phase.answer_s, 0.99))
            if target_p99_s is server_p99_s:
                flood_results.append(phase.flood_result)
    rises = [
        after_s / before_s - 1 for before_s, after_s in zip(sink_p99_s, server_p99_s, strict=True)
    ]
    cuts = [each["first_cut_s"] for each in flood_results if each["first_cut_s"] is not None]
    return {
        "sink_p99_ms": round(quantile(sink_p99_s, 0.5) * 1000, 2),
        "flood_p99_ms": round(quantile(server_p99_s, 0.5) * 1000, 2),
        "rise": round(quantile(rises, 0.5), 3),
        "sent": sum(each["sent"] for each in flood_results),
        "cuts": sum(each["cuts"] for each in flood_results),
        "first_cut_s": round(quantile(cuts, 0.5), 3) if cuts else None,
    }


async def measure(size: Size, folder: Path) -> dict[str, Any]:
    """Run each kind of flood against one server that other clients use."""
    # With the limits of production.
    async with fleet(folder, ["all"], RATE_LIMITS="on") as running:
        node = running.nodes[0]
        other_clients = [
            await node.site.connect(("RIDER", f"rdr_{n}"), lambda _n, _b, _s: None)
            for n in range(OTHER_CLIENTS)
        ]
        async with start_attacker(node.site) as attacker:
            figures = {
                kind: await _compare(attacker, node.site.url, other_clients, kind, size)
                for kind in size.kinds
            }
        for client in other_clients:
            client.close()
        worst = max(figures, key=lambda kind: figures[kind]["rise"])
        return {
            **figures,
            "worst": worst,
            "worst_rise": figures[worst]["rise"],
            "never_cut": [k for k in figures if not figures[k]["cuts"] and k not in MAY_NOT_BE_CUT],
            "faults": len(node.log_faults),
        }


def is_good(figures: dict[str, Any], rise_max: float = RISE_MAX) -> bool:
    """Whether others were hardly slowed down, every flood was cut, and nothing was logged."""
    return figures["worst_rise"] <= rise_max and not figures["never_cut"] and not figures["faults"]


def main() -> None:
    """Run the floods and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=20, help="of each kind, and as long beside it; 20 is full"
    )
    parser.add_argument("--seed", type=int, default=1, help="unused; part of the printed result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reeyo-flood-") as folder:
        figures = uvloop.run(measure(Size(options.seconds), Path(folder)))
    print_result("flood", vars(options), figures)
    if not is_good(figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
