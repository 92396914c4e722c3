"""Child process that cannot outlive the server: stopped with it, killed if the server dies."""

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

# Source: linux/prctl.h.
_PR_SET_PDEATHSIG = 1
# Both engines exit within milliseconds of SIGTERM; the rest is for a slow disk.
STOP_S = 3.0

_log = structlog.get_logger(__name__)


class ChildProcess:
    """A process in a group of its own, so that Ctrl-C at the terminal does not reach it.

    Source: prctl(2), PR_SET_PDEATHSIG: the kernel kills it when the thread that started it ends, so
    it must be started from a thread that lives as long as the server.
    """

    def __init__(self, argv: Sequence[str | Path], log: Path, inherited_fd: int) -> None:
        """Start `argv` with its output in `log`; it inherits the descriptor `inherited_fd`."""
        with log.open("wb") as output:
            # The child itself checks whether the parent died before PR_SET_PDEATHSIG took effect.
            self._process = subprocess.Popen(  # noqa: S603 (the arguments are our own)
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                pass_fds=(inherited_fd,),
                preexec_fn=_make_preexec(os.getpid()),  # noqa: PLW1509 (two system calls, no locks)
            )
        self._log = log

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def last_output_line(self) -> str:
        """The last line of the process's output, for error messages."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "no output"

    async def wait(self) -> int:
        """Wait for the process to exit; its exit code, negative for a signal."""
        if self.is_alive:
            loop = asyncio.get_running_loop()
            exited: asyncio.Future[None] = loop.create_future()
            # Source: pidfd_open(2), readable once the process has ended.
            descriptor = os.pidfd_open(self._process.pid)
            loop.add_reader(descriptor, _set_done, exited)
            try:
                await exited
            finally:
                loop.remove_reader(descriptor)
                os.close(descriptor)
        return self._process.wait()

    async def stop(self, timeout_s: float = STOP_S) -> None:
        """Stop the process with SIGTERM, and with SIGKILL after the timeout. Units: seconds."""
        try:
            if self.is_alive:
                self._process.send_signal(signal.SIGTERM)
                await asyncio.wait_for(self.wait(), timeout_s)
        except TimeoutError:
            _log.exception("engine_did_not_stop", pid=self.pid, log=str(self._log))
        finally:
            self._process.kill()
            self._process.wait()


def _set_done(exited: asyncio.Future[None]) -> None:
    if not exited.done():
        exited.set_result(None)


def _make_preexec(parent: int) -> Callable[[], None]:
    """The function the child runs between fork and exec; prctl is looked up before the fork."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The parent may have died between the fork and the line above.
        if os.getppid() != parent:
            os._exit(1)

    return before_exec
