"""Builds and runs the peers, a Node Socket.IO server and a bare C relay, and the load in C.

Each server runs on one core and the load on the other.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from bench.common.harness import BenchFailed, cpu_s, free_port, running_server
from bench.common.seeding import seed_orders
from city.client.tokens import TokenSigner
from dispatch import settings
from dispatch.storage.embedded import Endpoints, embedded_engines
from ledger.dynamodb.client import open_table
from ledger.dynamodb.schema import ensure_table

SERVER_CORE, LOAD_CORE = 0, 1
START_TIMEOUT_S = 10.0
# Source: Socket.IO 4, the Node server's defaults, so that both servers send as many pings.
HEARTBEAT_SETTINGS = {"PING_INTERVAL_S": "25", "PING_TIMEOUT_S": "20"}
_REGION, _TABLE = "eu-west-1", "reeyo"

# Figures that the load prints, by its own names.
LoadFigures = dict[str, float]


class LoadSize(NamedTuple):
    """Number of pairs of a rider and its watcher, and how often each rider reports.

    Units: seconds, fixes a second; at rate 0 each rider sends the next fix when its watcher has
    seen the last one.
    """

    pairs: int
    seconds: float
    rate: float


class PeerBuilds:
    """A folder with the built peers and the built load."""

    def __init__(self, folder: Path, peer: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        for name in ("server.js", "package.json", "limit.c", "relay_load.c"):
            shutil.copy(peer / name, folder)
        modules = peer / "node_modules"
        if modules.exists():
            (folder / "node_modules").symlink_to(modules)
        else:
            self._run_tool("npm", "install", "--silent", "--no-audit", "--no-fund")
        for name in ("limit", "relay_load"):
            self._run_tool("gcc", "-O2", "-w", "-o", name, f"{name}.c")

    def _run_tool(self, *argv: str) -> None:
        run = subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, check=False)
        if run.returncode:
            raise BenchFailed(f"{' '.join(argv)}: {run.stderr[-500:]}")

    def write_tokens(self, signer: TokenSigner, pairs: int) -> None:
        """Write the load's file of tokens."""
        (self.folder / "tokens").write_text(token_lines(signer, pairs))

    async def run_load(self, port: int, pid: int, size: LoadSize) -> dict[str, float]:
        """Run the load with all pairs, and parse the figures that it prints.

        `cpu_s` is the server's CPU from the first connection to the end.

        Errors: BenchFailed.
        """
        before_s = cpu_s(pid)
        argv = [
            "./relay_load", str(port), "tokens", str(size.pairs), str(size.seconds),
            str(size.rate), str(pid),
        ]  # fmt: skip
        load = await asyncio.create_subprocess_exec(
            *argv, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        os.sched_setaffinity(load.pid, {LOAD_CORE})
        out, error = await load.communicate()
        if load.returncode:
            raise BenchFailed(f"the load failed: {error.decode()[-500:]}")
        found = parse_load_output(out.decode()) | {"cpu_s": cpu_s(pid) - before_s}
        if found["errs"]:
            raise BenchFailed(f"{found['errs']:.0f} connections broke")
        return found

    @asynccontextmanager
    async def running_peer(self, *argv: str, **environ: str) -> AsyncIterator[tuple[int, int]]:
        """A peer that listens; its port and its process id."""
        port = free_port()
        child = await asyncio.create_subprocess_exec(
            *argv, cwd=self.folder, env={**os.environ, **environ, "PORT": str(port)},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            os.sched_setaffinity(child.pid, {SERVER_CORE})
            await _wait_listening(port)
            yield port, child.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


def token_lines(signer: TokenSigner, pairs: int) -> str:
    """A line for each pair: the rider's token, the watcher's token, their order."""
    return "".join(
        f"{signer.sign('RIDER', f'rdr_{i}')} {signer.sign('USER', f'usr_{i}')} ord_{i}\n"
        for i in range(pairs)
    )


def parse_load_output(text: str) -> LoadFigures:
    """The `name=value` words that the load prints; other words are ignored. Units: as printed."""
    words = (word.partition("=") for word in text.split() if "=" in word)
    return {name: float(value.removesuffix("ms")) for name, _, value in words}


async def _wait_listening(port: int) -> None:
    end_s = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > end_s:
                raise BenchFailed(f"nothing listens at port {port}") from None
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


@asynccontextmanager
async def seeded_engines(folder: Path, pairs: int) -> AsyncIterator[Endpoints]:
    """Embedded engines with so many orders under way."""
    ours = settings.read({"DATA_DIR": str(folder / "engines")}, dev=True)
    async with embedded_engines(ours) as engines:
        async with open_table(engines.dynamodb_endpoint, _REGION, _TABLE) as table:
            await ensure_table(table)
            await seed_orders(table, pairs)
        yield engines


async def measure_ours(
    builds: PeerBuilds, engines: Endpoints, size: LoadSize, folder: Path
) -> LoadFigures:
    """Figures of this server, with the heartbeat of the peer."""
    async with running_server(folder, engines, **HEARTBEAT_SETTINGS) as site:
        pin_to_server_core(site.pid)
        builds.write_tokens(site.signer, size.pairs)
        return _print_figures(
            "ours", await builds.run_load(int(site.url.rpartition(":")[2]), site.pid, size)
        )


async def measure_peer(builds: PeerBuilds, engines: Endpoints, size: LoadSize) -> LoadFigures:
    """Figures of the Node server, with automatic pipelining of its Redis client."""
    secret = secrets.token_urlsafe(32)
    builds.write_tokens(TokenSigner(secret, lambda: int(time.time() * 1000)), size.pairs)
    redis_port = engines.redis_url.rpartition(":")[2]
    settings = {"JWT_SECRET": secret, "REDIS_PORT": redis_port, "PIPE": "1"}
    async with builds.running_peer("node", "server.js", **settings) as (port, pid):
        return _print_figures("peer", await builds.run_load(port, pid, size))


async def measure_limit(builds: PeerBuilds, size: LoadSize) -> LoadFigures:
    """Figures of the bare relay, the lower limit for any server on these sockets."""
    async with builds.running_peer("./limit") as (port, pid):
        return _print_figures("limit", await builds.run_load(port, pid, size))


def _print_figures(name: str, found: LoadFigures) -> LoadFigures:
    print(name, found, file=sys.stderr)
    return found


def pin_to_server_core(pid: int) -> None:
    """Pin all threads of a server to its core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {SERVER_CORE})
