"""Base of benches over the public interface: a real server as a child process, and statistics."""

import asyncio
import gc
import math
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from bench.common.client import OnEvent, SocketClient, connect
from city.client.tokens import NAMESPACES, TokenSigner, UserType
from city.demo import server_process
from city.demo.server_process import ServerDown
from dispatch.settings import Settings
from dispatch.storage.embedded import Endpoints

REQUEST_TIMEOUT_S = 20.0
# Time for draining the sockets and for the engines' last writes.
STOP_TIMEOUT_S = 10.0
# Text that the log of a run without faults does not have.
FAULT_MARKERS = ("Traceback", '"level": "error"')


class BenchFailed(Exception):
    """The bench could not measure what it says it measures."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running server, and the tokens and HTTP session to use it."""

    url: str
    pid: int
    signer: TokenSigner
    session: aiohttp.ClientSession

    async def request(
        self, method: str, path: str, identity: tuple[UserType, str], body: object = None
    ) -> Any:
        """Send one HTTP request that must succeed; returns its data.

        Errors: BenchFailed.
        """
        headers = {"Authorization": f"Bearer {self.signer.sign(*identity)}"}
        return await self.send_request(method, path, headers, body)

    async def send_request(
        self, method: str, path: str, headers: dict[str, str], body: object
    ) -> Any:
        """`request` with ready headers, so that signing a token is not measured.

        Errors: BenchFailed.
        """
        async with self.session.request(
            method, f"{self.url}/api/v1{path}", data=orjson.dumps(body), headers=headers
        ) as response:
            raw = await response.read()
        if response.status not in (200, 201):
            raise BenchFailed(f"{method} {path} answered {response.status}: {raw[:300].decode()}")
        return orjson.loads(raw)["data"]

    async def connect(self, identity: tuple[UserType, str], on_event: OnEvent) -> SocketClient:
        """Connect an identity to its namespace."""
        return await connect(
            self.url, NAMESPACES[identity[0]], self.signer.sign(*identity), on_event
        )

    def cpu_s(self) -> float:
        """CPU used by the server so far, without its engines. Units: seconds."""
        return cpu_s(self.pid)


def cpu_s(pid: int) -> float:
    """CPU used by a process so far. Units: seconds. Source: proc(5), fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running_server(
    folder: Path, engines: Endpoints | None = None, **overrides: str
) -> AsyncIterator[RunningServer]:
    """A server with its data in a folder, stopped at the end of the block.

    It uses these engines, or starts its own. `overrides` are settings, in capitals.

    Errors: BenchFailed where it does not start, does not end, or has logged an error.
    """
    secret = secrets.token_urlsafe(32)
    environ = {**without_settings(os.environ), "DATA_DIR": str(folder), "RATE_LIMITS": "off"}
    if engines is not None:
        environ["REDIS_URL"] = engines.redis_url
        environ["DYNAMODB_ENDPOINT"] = engines.dynamodb_endpoint or ""
    environ |= overrides
    try:
        child = await server_process.start_server(environ, free_port(), secret)
    except ServerDown as down:
        raise BenchFailed(str(down)) from down
    is_clean = False
    try:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            await child.wait_ready(session, _ignore_progress)
            signer = TokenSigner(secret, lambda: int(time.time() * 1000))
            yield RunningServer(child.url, child.process.pid, signer, session)
        is_clean = True
    except ServerDown as down:
        raise BenchFailed(str(down)) from down
    finally:
        has_stopped = await child.stop(STOP_TIMEOUT_S)
    log = child.log.read_text(errors="replace")
    if is_clean and (not has_stopped or any(fault in log for fault in FAULT_MARKERS)):
        raise BenchFailed(f"the server did not end cleanly\n{child.log_tail()}")


def without_settings(environ: "os._Environ[str]") -> dict[str, str]:
    """An environment without settings of this server and without an AWS account."""
    ours = {name.upper() for name in Settings.__struct_fields__}
    return {k: v for k, v in environ.items() if k not in ours and not k.startswith("AWS_")}


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed. Source: nearest-rank method.

    Errors: BenchFailed where there are no values.
    """
    if not values:
        raise BenchFailed("nothing was measured")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def percentiles_ms(name: str, seconds: Sequence[float]) -> dict[str, object]:
    """Median and 99th percentile of durations. Units: seconds in, milliseconds out."""
    return {
        f"{name}_p50_ms": round(quantile(seconds, 0.50) * 1000, 2),
        f"{name}_p99_ms": round(quantile(seconds, 0.99) * 1000, 2),
    }


async def run_limited(limit: int, jobs: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Run the jobs, at most `limit` at a time; returns their results in the jobs' order."""
    queue = iter(enumerate(jobs))
    done: list[Any] = [None] * len(jobs)

    async def work() -> None:
        for at, job in queue:
            done[at] = await job()

    async with asyncio.TaskGroup() as group:
        for _ in range(limit):
            group.create_task(work())
    return done


@contextmanager
def gc_disabled() -> Iterator[None]:
    """No garbage collection in this process inside the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _ignore_progress(_text: str) -> None:
    """Progress is not shown."""
