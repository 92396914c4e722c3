"""Somebody floods a server that others use: `python -m tests.e2e.flood --seconds 20`.

By events, connects, headers that never end, big frames, and pings. He is cut, and others hardly
notice: their answers are compared with those beside the same flood poured into nothing, for on a
machine of two cores he takes one of them whomever he floods. One JSON line, exit 1 otherwise.
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

# Source: promises.
RISE_MAX = 0.20
OTHER_CLIENTS = 40
ASK_EVERY_S = 0.2
# What riders say all day; it needs no store, whose time would be all there is to see.
FIX = {"lat": 4.05, "lng": 9.7}
ATTACKER_OVERHEAD_S = 20.0
# A flood of connects is refused when the address has had its five thousand.
MAY_NOT_BE_CUT = frozenset({"connects", "slow_headers"})
ROOT = Path(__file__).parents[2]


class Size(NamedTuple):
    """How long each kind of flood takes, and in how many phases.

    In one phase an answer is late by chance: they are short, each is compared with the one right
    before it, and the middle one counts.
    """

    seconds: float
    rounds: int = 11
    kinds: tuple[str, ...] = tuple(KINDS)


class Phase(NamedTuple):
    """How long others waited, and what the offender saw."""

    answer_s: list[float]
    flood_result: dict[str, Any]


async def _send_until_cancelled(client: SocketClient, took_s: list[float]) -> None:
    while True:
        began_s = time.perf_counter()
        await client.call("location_update", FIX)
        took_s.append(time.perf_counter() - began_s)
        await asyncio.sleep(ASK_EVERY_S)


class AttackerProcess:
    """The process that floods, when it is told to."""

    def __init__(self, child: Process) -> None:
        self._child = child

    async def flood(self, kind: str, target: str, seconds: float) -> dict[str, Any]:
        """What it saw of that. Errors: Failed where it has ended instead."""
        assert self._child.stdin is not None, "it was asked for"
        self._child.stdin.write(f"{kind} {target} {seconds}\n".encode())
        async with asyncio.timeout(seconds + ATTACKER_OVERHEAD_S):
            return await self.read_result()

    async def read_result(self) -> Any:
        """The next thing that it says. Errors: Failed."""
        assert self._child.stdout is not None, "it was asked for"
        line = await self._child.stdout.readline()
        if not line:
            raise BenchFailed("the offender has ended")
        return json.loads(line)


@asynccontextmanager
async def _start_attacker(site: RunningServer) -> AsyncIterator[AttackerProcess]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.e2e.attacker", cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TOKEN": site.signer.sign("RIDER", "rdr_offender")},
    )  # fmt: skip
    try:
        offender = AttackerProcess(child)
        await offender.read_result()
        yield offender
    finally:
        child.kill()
        await child.wait()


async def _run_phase(
    attacker: AttackerProcess, others: list[SocketClient], kind: str, target: str, seconds: float
) -> Phase:
    """So long the others ask while somebody floods."""
    took_s: list[float] = []
    asking = [asyncio.ensure_future(_send_until_cancelled(phone, took_s)) for phone in others]
    try:
        told = await attacker.flood(kind, target, seconds)
    finally:
        failed = [task.exception() for task in asking if task.done()]
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
    if failed:
        raise BenchFailed(f"{kind} at {target}: {failed}")
    return Phase(took_s, told)


async def _compare(
    attacker: AttackerProcess, url: str, others: list[SocketClient], kind: str, size: Size
) -> dict[str, Any]:
    """Floods of one kind into nothing and at the server, in turns."""
    beside, under, told = [], [], []
    for _ in range(size.rounds):
        for where, kept in (("nobody", beside), (url, under)):
            phase = await _run_phase(attacker, others, kind, where, size.seconds / size.rounds)
            kept.append(quantile(phase.answer_s, 0.99))
            if kept is under:
                told.append(phase.flood_result)
    rises = [after_s / before_s - 1 for before_s, after_s in zip(beside, under, strict=True)]
    cuts = [each["first_cut_s"] for each in told if each["first_cut_s"] is not None]
    return {
        "beside_p99_ms": round(quantile(beside, 0.5) * 1000, 2),
        "under_p99_ms": round(quantile(under, 0.5) * 1000, 2),
        "rise": round(quantile(rises, 0.5), 3),
        "sent": sum(each["sent"] for each in told),
        "cuts": sum(each["cuts"] for each in told),
        "first_cut_s": round(quantile(cuts, 0.5), 3) if cuts else None,
    }


async def measure(size: Size, folder: Path) -> dict[str, Any]:
    """Each kind of flood for so long at one server that others use."""
    # Limits as they are in production.
    async with fleet(folder, ["all"], RATE_LIMITS="on") as running:
        node = running.nodes[0]
        others = [
            await node.site.connect(("RIDER", f"rdr_{n}"), lambda _n, _b, _s: None)
            for n in range(OTHER_CLIENTS)
        ]
        async with _start_attacker(node.site) as offender:
            figures = {
                kind: await _compare(offender, node.site.url, others, kind, size)
                for kind in size.kinds
            }
        for phone in others:
            phone.close()
        worst = max(figures, key=lambda kind: figures[kind]["rise"])
        return {
            **figures,
            "worst": worst,
            "worst_rise": figures[worst]["rise"],
            "never_cut": [k for k in figures if not figures[k]["cuts"] and k not in MAY_NOT_BE_CUT],
            "faults": len(node.log_faults),
        }


def is_good(figures: dict[str, Any], rise_max: float = RISE_MAX) -> bool:
    """Whether the promise was kept."""
    return figures["worst_rise"] <= rise_max and not figures["never_cut"] and not figures["faults"]


def main() -> None:
    """Flood and print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=20, help="of each kind, and as long beside it; 20 is full"
    )
    parser.add_argument("--seed", type=int, default=1, help="nothing is drawn here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reeyo-flood-") as folder:
        figures = uvloop.run(measure(Size(given.seconds), Path(folder)))
    print_result("flood", vars(given), figures)
    if not is_good(figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
