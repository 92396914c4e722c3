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

from bench.common.client import Phone
from bench.common.harness import Failed, Site, quantile
from bench.common.result_line import print_line
from tests.e2e.attacker import KINDS
from tests.e2e.fleet import fleet

# Source: promises.
RISE_MAX = 0.20
OTHERS = 40
ASK_EVERY_S = 0.2
# What riders say all day; it needs no store, whose time would be all there is to see.
FIX = {"lat": 4.05, "lng": 9.7}
OVERHEAD_S = 20.0
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

    took_s: list[float]
    told: dict[str, Any]


async def _ask_for_ever(phone: Phone, took_s: list[float]) -> None:
    while True:
        began_s = time.perf_counter()
        await phone.call("location_update", FIX)
        took_s.append(time.perf_counter() - began_s)
        await asyncio.sleep(ASK_EVERY_S)


class Offender:
    """The process that floods, when it is told to."""

    def __init__(self, child: Process) -> None:
        self._child = child

    async def flood(self, kind: str, where: str, seconds: float) -> dict[str, Any]:
        """What it saw of that. Errors: Failed where it has ended instead."""
        assert self._child.stdin is not None, "it was asked for"
        self._child.stdin.write(f"{kind} {where} {seconds}\n".encode())
        async with asyncio.timeout(seconds + OVERHEAD_S):
            return await self.told()

    async def told(self) -> Any:
        """The next thing that it says. Errors: Failed."""
        assert self._child.stdout is not None, "it was asked for"
        line = await self._child.stdout.readline()
        if not line:
            raise Failed("the offender has ended")
        return json.loads(line)


@asynccontextmanager
async def _offender(site: Site) -> AsyncIterator[Offender]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.e2e.attacker", cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TOKEN": site.office.sign("RIDER", "rdr_offender")},
    )  # fmt: skip
    try:
        offender = Offender(child)
        await offender.told()
        yield offender
    finally:
        child.kill()
        await child.wait()


async def _phase(
    offender: Offender, others: list[Phone], kind: str, where: str, seconds: float
) -> Phase:
    """So long the others ask while somebody floods."""
    took_s: list[float] = []
    asking = [asyncio.ensure_future(_ask_for_ever(phone, took_s)) for phone in others]
    try:
        told = await offender.flood(kind, where, seconds)
    finally:
        failed = [task.exception() for task in asking if task.done()]
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
    if failed:
        raise Failed(f"{kind} at {where}: {failed}")
    return Phase(took_s, told)


async def _compare(
    offender: Offender, url: str, others: list[Phone], kind: str, size: Size
) -> dict[str, Any]:
    """Floods of one kind into nothing and at the server, in turns."""
    beside, under, told = [], [], []
    for _ in range(size.rounds):
        for where, kept in (("nobody", beside), (url, under)):
            phase = await _phase(offender, others, kind, where, size.seconds / size.rounds)
            kept.append(quantile(phase.took_s, 0.99))
            if kept is under:
                told.append(phase.told)
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
            await node.site.phone(("RIDER", f"rdr_{n}"), lambda _n, _b, _s: None)
            for n in range(OTHERS)
        ]
        async with _offender(node.site) as offender:
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
            "faults": len(node.faults),
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
    print_line("flood", vars(given), figures)
    if not is_good(figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
