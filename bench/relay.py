"""Fixes from riders to watchers: our server, the Node peer and the bare limit in one run.

`python -m bench.relay --peer DIR [--pairs 500] [--rate 0.4] [--rounds 2]`. DIR holds the peer's
`server.js`, `limit.c` and the load `relay_load.c`; they are built in a folder of the bench's own,
with gcc and npm. Each server runs on one core and the load on the other.
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.harness import Failed, free_port, running
from bench.line import print_line
from bench.seeding import seed
from city.badge import BadgeOffice
from dispatch import settings
from dispatch.store.embedded import Endpoints, embedded_engines
from ledger.dynamo import DynamoTable, open_table
from ledger.schema import ensure_table

SERVER_CORE, LOAD_CORE = 0, 1
START_S = 10.0


class Size(NamedTuple):
    """Pairs of a rider and his watcher, and how often each rider reports.

    Units: fixes a second; at 0 each sends the next when his watcher has seen the last.
    """

    pairs: int
    seconds: float
    rate: float
    rounds: int


class Yard:
    """Where the peer is built, and the load that drives whoever listens."""

    def __init__(self, folder: Path, peer: Path) -> None:
        self.folder = folder
        for name in ("server.js", "package.json", "limit.c", "relay_load.c"):
            shutil.copy(peer / name, folder)
        modules = peer / "node_modules"
        if modules.exists():
            (folder / "node_modules").symlink_to(modules)
        else:
            self._say("npm", "install", "--silent", "--no-audit", "--no-fund")
        for name in ("limit", "relay_load"):
            self._say("gcc", "-O2", "-w", "-o", name, f"{name}.c")

    def _say(self, *argv: str) -> None:
        run = subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, check=False)
        if run.returncode:
            raise Failed(f"{' '.join(argv)}: {run.stderr[-500:]}")

    def write_tokens(self, office: BadgeOffice, pairs: int) -> None:
        """A line for each pair: the rider's token, the watcher's, their order."""
        lines = (
            f"{office.sign('RIDER', f'rdr_{i}')} {office.sign('USER', f'usr_{i}')} ord_{i}\n"
            for i in range(pairs)
        )
        (self.folder / "tokens").write_text("".join(lines))

    async def drive(self, port: int, pid: int, size: Size) -> dict[str, float]:
        """Let all pairs drive, and read what the load has measured.

        Errors: Failed.
        """
        argv = [
            "./relay_load", str(port), "tokens", str(size.pairs), str(size.seconds),
            str(size.rate), str(pid),
        ]  # fmt: skip
        load = await asyncio.create_subprocess_exec(
            *argv, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        os.sched_setaffinity(load.pid, {LOAD_CORE})
        out, complaint = await load.communicate()
        if load.returncode:
            raise Failed(f"the load failed: {complaint.decode()[-500:]}")
        words = (word.partition("=") for word in out.decode().split() if "=" in word)
        found = {name: float(value.removesuffix("ms")) for name, _, value in words}
        if found["errs"]:
            raise Failed(f"{found['errs']:.0f} connections broke")
        return found

    @asynccontextmanager
    async def serving(self, *argv: str, **environ: str) -> AsyncIterator[tuple[int, int]]:
        """One of the others, listening; its port and its process."""
        port = free_port()
        child = await asyncio.create_subprocess_exec(
            *argv, cwd=self.folder, env={**os.environ, **environ, "PORT": str(port)},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            os.sched_setaffinity(child.pid, {SERVER_CORE})
            await _listens(port)
            yield port, child.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


async def _listens(port: int) -> None:
    end_s = time.monotonic() + START_S
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > end_s:
                raise Failed(f"nobody listens at {port}") from None
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def measure(peer: Path, size: Size) -> dict[str, object]:
    """All three, in turns."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / "yard").mkdir()
        yard = Yard(folder / "yard", peer)
        ours = settings.read({"DATA_DIR": str(folder / "engines")}, dev=True)
        async with embedded_engines(ours) as engines:
            await _seed(engines, size.pairs)
            rounds = [
                await _round(yard, engines, size, folder / str(n)) for n in range(size.rounds)
            ]
    return _figures(rounds)


async def _seed(engines: Endpoints, pairs: int) -> None:
    place = (engines.dynamodb_endpoint, "eu-west-1", "reeyo")
    async with open_table(*place) as table:
        await ensure_table(DynamoTable(table.client, "reeyo"))
        await seed(DynamoTable(table.client, "reeyo"), pairs)


async def _round(
    yard: Yard, engines: Endpoints, size: Size, folder: Path
) -> dict[str, dict[str, float]]:
    stores = {
        "REDIS_URL": engines.redis_url,
        "DYNAMODB_ENDPOINT": engines.dynamodb_endpoint or "",
    }
    found = {}
    async with running(folder, **stores) as site:
        _pin(site.pid)
        yard.write_tokens(site.office, size.pairs)
        found["ours"] = await yard.drive(int(site.url.rpartition(":")[2]), site.pid, size)
    secret = secrets.token_urlsafe(32)
    yard.write_tokens(BadgeOffice(secret, lambda: int(time.time() * 1000)), size.pairs)
    redis_port = engines.redis_url.rpartition(":")[2]
    peer = {"JWT_SECRET": secret, "REDIS_PORT": redis_port, "PIPE": "1"}
    async with yard.serving("node", "server.js", **peer) as (port, pid):
        found["peer"] = await yard.drive(port, pid, size)
    async with yard.serving("./limit") as (port, pid):
        found["limit"] = await yard.drive(port, pid, size)
    for who, figures in found.items():
        print(who, figures, file=sys.stderr)
    return found


def _pin(pid: int) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {SERVER_CORE})


def _figures(rounds: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """The best of each over the rounds: what others do on the machine only ever adds."""
    figures: dict[str, Any] = {}
    for who in rounds[0]:
        cost = [each[who].get("us_per_relay") or _open_cost(each[who]) for each in rounds]
        best = rounds[cost.index(min(cost))][who]
        figures[who] = {"cpu_us_per_fix": round(min(cost), 1), **best}
    ours = figures["ours"]["cpu_us_per_fix"]
    figures["to_peer"] = round(ours / figures["peer"]["cpu_us_per_fix"], 3)
    figures["to_limit"] = round(ours / figures["limit"]["cpu_us_per_fix"], 3)
    return figures


def _open_cost(found: dict[str, float]) -> float:
    return found["cpu"] * 1e6 / found["relayed/s"]


def main() -> None:
    """Run one size and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, help="folder of the peer and its load")
    parser.add_argument("--pairs", type=int, default=500, help="riders, each with a watcher")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument(
        "--rate",
        type=float,
        default=0.0,
        help="fixes a second of each rider; 0: the next when seen",
    )
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    size = Size(given.pairs, given.seconds, given.rate, given.rounds)
    figures = uvloop.run(measure(given.peer, size))
    print_line("relay", size._asdict(), figures)


if __name__ == "__main__":
    main()
