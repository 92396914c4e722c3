"""Child processes: their exit is seen, their last line is kept, and they can be stopped."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch.storage.child_process import ChildProcess
from tests.waiting import Until

# Prints a line, then runs until SIGTERM; or ignores SIGTERM.
WAITS = "import signal; print('ready', flush=True); signal.pause()"
IGNORES = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)\n"
    "while True: signal.pause()"
)


@pytest.fixture
def inherited_fd() -> Iterator[int]:
    """A descriptor that the child inherits."""
    reader, writer = os.pipe()
    yield writer
    os.close(reader)
    os.close(writer)


def start(code: str, log: Path, inherited_fd: int) -> ChildProcess:
    return ChildProcess([sys.executable, "-c", code], log, inherited_fd)


async def test_exit_code_and_last_line(tmp_path: Path, inherited_fd: int):
    """`wait` returns the exit code; the last line of output is kept for messages."""
    child = start("print('first'); print('last'); exit(3)", tmp_path / "log", inherited_fd)
    assert await child.wait() == 3
    assert await child.wait() == 3
    assert not child.is_alive
    assert child.last_output_line() == "last"


async def test_silent_process_has_no_last_line(tmp_path: Path, inherited_fd: int):
    """Without output the last line says so."""
    child = start("pass", tmp_path / "log", inherited_fd)
    await child.wait()
    assert child.last_output_line() == "no output"


async def test_wait_sees_a_kill(tmp_path: Path, inherited_fd: int):
    """`wait` returns the negative signal number of a killed process."""
    child = start(WAITS, tmp_path / "log", inherited_fd)
    waiting = asyncio.ensure_future(child.wait())
    os.kill(child.pid, signal.SIGKILL)
    assert await waiting == -signal.SIGKILL


async def test_stop_ends_the_process(tmp_path: Path, inherited_fd: int, until: Until):
    """`stop` ends a process by SIGTERM, and may be called again."""
    child = start(WAITS, tmp_path / "log", inherited_fd)
    await until.true(lambda: child.last_output_line() == "ready")
    await child.stop()
    assert await child.wait() == -signal.SIGTERM
    await child.stop()


async def test_stop_kills_a_process_that_ignores_it(
    tmp_path: Path, inherited_fd: int, until: Until
):
    """A process that ignores SIGTERM is killed at the end of the grace period."""
    child = start(IGNORES, tmp_path / "log", inherited_fd)
    await until.true(lambda: child.last_output_line() == "ready")
    await child.stop(timeout_s=0.05)
    assert await child.wait() == -signal.SIGKILL


async def test_process_inherits_the_descriptor(tmp_path: Path, inherited_fd: int):
    """The inherited descriptor is open in the child."""
    child = start(f"import os; os.fstat({inherited_fd})", tmp_path / "log", inherited_fd)
    assert await child.wait() == 0
