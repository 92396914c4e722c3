"""The server as a child process of the demo."""

import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from city.demo.server_process import ServerDown, ServerProcess, start_server
from tests.city.fake_server import SECRET, FakeServer
from tests.waiting import Until

# Far above what any of these takes, also on a busy machine.
WAIT_S = 60
UNTIL = Until()
# Children in place of the server: one that serves, one that ignores SIGTERM, one that crashes.
SERVING_CHILD = """
import os
from aiohttp import web
app = web.Application()
app.router.add_get("/readyz", lambda _: web_ok())
async def web_ok(): return web.Response(text="ok")
web.run_app(app, port=int(os.environ["PORT"]), handle_signals=True, print=None)
"""
UNSTOPPABLE_CHILD = (
    "import signal, threading; signal.signal(15, signal.SIG_IGN); print('no'); "
    "threading.Event().wait(60)"
)
CRASHING_CHILD = "print('no engine found'); raise SystemExit(3)"


async def start_child(code: str, folder: Path, port: int) -> ServerProcess:
    environ = {**os.environ, "DATA_DIR": str(folder)}
    return await start_server(environ, port, SECRET, (sys.executable, "-c", code))


async def test_a_child_serves_and_stops(tmp_path: Path, unused_tcp_port: int) -> None:
    """A child is ready once `/readyz` answers, and ends by itself on SIGTERM."""
    child = await start_child(SERVING_CHILD, tmp_path, unused_tcp_port)
    progress: list[str] = []
    async with aiohttp.ClientSession() as session:
        await child.wait_ready(session, progress.append)
    assert progress[-1].startswith("server ready after")
    assert await child.stop(WAIT_S) is True
    assert child.has_ended


async def test_a_taken_port_is_refused(tmp_path: Path, fake_server: FakeServer) -> None:
    """A port on which another server listens is not used."""
    port = int(fake_server.url.rpartition(":")[2])
    with pytest.raises(ServerDown, match="is taken"):
        await start_child(SERVING_CHILD, tmp_path, port)


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path, unused_tcp_port: int) -> None:
    """A child that ignores SIGTERM is killed, and `stop` returns False."""
    child = await start_child(UNSTOPPABLE_CHILD, tmp_path, unused_tcp_port)
    await UNTIL.true(lambda: bool(child.log_tail()), WAIT_S)
    assert await child.stop(within_s=0.1) is False
    assert child.process.returncode == -signal.SIGKILL


async def test_the_log_of_a_crashed_child_is_shown(tmp_path: Path, unused_tcp_port: int) -> None:
    """The error has the last lines of the log of a child that did not start."""
    child = await start_child(CRASHING_CHILD, tmp_path, unused_tcp_port)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ServerDown, match="no engine found"):
            await child.wait_ready(session, lambda _: None)
