"""What a bench over the public interface stands on: a real server as a child, and fair figures."""

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
from city.client.tokens import TokenSigner, UserType
from city.demo import server_process
from city.demo.server_process import ServerDown
from dispatch.settings import Settings
from dispatch.storage.embedded import Endpoints

NAMESPACES: dict[UserType, str] = {
    "USER": "/user",
    "VENDOR": "/vendor",
    "RIDER": "/rider",
    "ADMIN": "/ops",
}
REQUEST_TIMEOUT_S = 20.0
# A drain, and the engines' last writes.
STOP_TIMEOUT_S = 10.0
# What a log of a run without faults does not say.
FAULT_MARKERS = ("Traceback", '"level": "error"')


class BenchFailed(Exception):
    """The bench did not measure what it says it measures."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running server and those who may use it."""

    url: str
    pid: int
    signer: TokenSigner
    session: aiohttp.ClientSession

    async def request(
        self, method: str, path: str, identity: tuple[UserType, str], body: object = None
    ) -> Any:
        """One HTTP request that must succeed; its data.

        Errors: Failed.
        """
        headers = {"Authorization": f"Bearer {self.signer.sign(*identity)}"}
        return await self.send_request(method, path, headers, body)

    async def send_request(
        self, method: str, path: str, headers: dict[str, str], body: object
    ) -> Any:
        """The same with headers that were made before, so that signing is not measured."""
        async with self.session.request(
            method, f"{self.url}/api/v1{path}", data=orjson.dumps(body), headers=headers
        ) as answer:
            raw = await answer.read()
        if answer.status not in (200, 201):
            raise BenchFailed(f"{method} {path} answered {answer.status}: {raw[:300].decode()}")
        return orjson.loads(raw)["data"]

    async def connect(self, identity: tuple[UserType, str], on_event: OnEvent) -> SocketClient:
        """A line into somebody's own namespace."""
        return await connect(
            self.url, NAMESPACES[identity[0]], self.signer.sign(*identity), on_event
        )

    def cpu_s(self) -> float:
        """CPU that the server has used, without its engines."""
        return cpu_s(self.pid)


def cpu_s(pid: int) -> float:
    """CPU that a process has used. Source: proc(5), fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running_server(
    folder: Path, engines: Endpoints | None = None, **overrides: str
) -> AsyncIterator[RunningServer]:
    """A server on a folder; it ends with the block, cleanly. Its engines are these, or its own.

    `changes` are settings, in capitals.

    Errors: Failed where it does not start, does not end, or has logged an error.
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
            office = TokenSigner(secret, lambda: int(time.time() * 1000))
            yield RunningServer(child.url, child.process.pid, office, session)
        is_clean = True
    except ServerDown as down:
        raise BenchFailed(str(down)) from down
    finally:
        has_stopped = await child.stop(STOP_TIMEOUT_S)
    log = child.log.read_text(errors="replace")
    if is_clean and (not has_stopped or any(fault in log for fault in FAULT_MARKERS)):
        raise BenchFailed(f"the server did not end well\n{child.log_tail()}")


def without_settings(environ: "os._Environ[str]") -> dict[str, str]:
    """An environment without settings of this server and without an AWS account."""
    ours = {name.upper() for name in Settings.__struct_fields__}
    return {k: v for k, v in environ.items() if k not in ours and not k.startswith("AWS_")}


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed. Source: nearest rank."""
    if not values:
        raise BenchFailed("nothing was measured")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def percentiles_ms(name: str, seconds: Sequence[float]) -> dict[str, object]:
    """The middle and the tail of durations, as two figures in milliseconds."""
    return {
        f"{name}_p50_ms": round(quantile(seconds, 0.50) * 1000, 2),
        f"{name}_p99_ms": round(quantile(seconds, 0.99) * 1000, 2),
    }


async def run_limited(limit: int, jobs: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Do the jobs, at most `limit` at a time, and hand back what they returned, in their order."""
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
    """No pause of this process' own collector inside the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _ignore_progress(_text: str) -> None:
    """Nobody watches."""
