"""The server as a child process: start, readiness, stop; it ends with its parent."""

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import aiohttp

START_TIMEOUT_S = 90.0
POLL_EVERY_S = 0.15
PROGRESS_EVERY_S = 2.0
# Source: README.md, the demo ends within 5 s of Ctrl-C; the rest is for the actors and the ledger.
STOP_TIMEOUT_S = 3.6
LOG_LINES_SHOWN = 25
# `<linux/prctl.h>`: the child gets a signal when its parent dies.
PR_SET_PDEATHSIG = 1
COMMAND = (sys.executable, "-c", "from handlers.app.cli import main; main()", "serve", "--dev")


class ServerDown(Exception):
    """The server did not start, or has ended."""


@dataclass(slots=True)
class ServerProcess:
    """A server's process and its log."""

    process: asyncio.subprocess.Process
    log: Path
    url: str

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.returncode is not None

    async def wait(self) -> int:
        """Wait for the process to end; its exit code."""
        return await self.process.wait()

    async def wait_ready(
        self, session: aiohttp.ClientSession, on_progress: Callable[[str], None]
    ) -> None:
        """Wait until `/readyz` answers 200.

        Errors: ServerDown.
        """
        loop = asyncio.get_running_loop()
        started_s = reported_s = loop.time()
        while loop.time() < started_s + START_TIMEOUT_S:
            if self.has_ended:
                raise ServerDown(
                    f"the server ended with {self.process.returncode}\n{self.log_tail()}"
                )
            if await is_ready(session, self.url):
                on_progress(f"server ready after {loop.time() - started_s:.1f} s")
                return
            if loop.time() > reported_s + PROGRESS_EVERY_S:
                reported_s = loop.time()
                on_progress(f"waiting for the server ({reported_s - started_s:.0f} s) ...")
            await asyncio.sleep(POLL_EVERY_S)
        raise ServerDown(
            f"the server is not ready after {START_TIMEOUT_S:.0f} s\n{self.log_tail()}"
        )

    async def stop(self, within_s: float = STOP_TIMEOUT_S) -> bool:
        """Send SIGTERM, after a timeout SIGKILL; whether it ended by itself with exit code 0.

        Units: seconds.
        """
        if self.has_ended:
            return self.process.returncode == 0
        self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within_s):
                await self.process.wait()
        except TimeoutError:
            await self.kill()
            return False
        return self.process.returncode == 0

    async def kill(self) -> None:
        """Kill the server at once; its engines end with it."""
        if not self.has_ended:
            self.process.kill()
            await self.process.wait()

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])


async def start_server(
    environ: Mapping[str, str], port: int, secret: str | None, command: Sequence[str] = COMMAND
) -> ServerProcess:
    """Start the server on a port; its log is written beside its data.

    Without a secret it uses JWT_SECRET of the environment, or makes one and keeps it in DATA_DIR.

    Errors: ServerDown where another process has the port, which would be mistaken for this server.
    """
    if _is_port_taken(port):
        raise ServerDown(f"port {port} is taken; choose another with --port")
    folder = Path(environ.get("DATA_DIR") or "data")
    log = _open_log(folder)
    # Unbuffered, so that the log of a killed server is complete.
    fixed = {"PYTHONUNBUFFERED": "1", "DATA_DIR": str(folder), "PORT": str(port)}
    child = {**environ, **fixed, **({"JWT_SECRET": secret} if secret else {})}
    with log as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=child,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C must reach this process alone, which stops first the city and then the server.
            start_new_session=True,
            preexec_fn=_exit_with_parent(os.getpid()) if sys.platform == "linux" else None,
        )
    return ServerProcess(process, Path(output.name), f"http://127.0.0.1:{port}")


async def is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    """Whether the server at an address is ready."""
    try:
        async with session.get(f"{url}/readyz", timeout=aiohttp.ClientTimeout(total=2)) as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError):
        return False


async def check_ready(session: aiohttp.ClientSession, url: str) -> None:
    """Check that a server is ready at an address.

    Errors: ServerDown.
    """
    if not await is_ready(session, url):
        raise ServerDown(f"no server is ready at {url}")


def _is_port_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _open_log(folder: Path) -> BinaryIO:
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "server.log").open("wb")


def _exit_with_parent(parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None)

    def request_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            # The parent ended before the call took effect.
            os.kill(os.getpid(), signal.SIGTERM)

    return request_signal
