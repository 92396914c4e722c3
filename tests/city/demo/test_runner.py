"""The demo from start to books, and its server as a child."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from city.client.tokens import make_token_signer
from city.demo import runner, server_process
from city.demo.runner import DemoOptions, InvalidOptions
from city.demo.server_process import ServerDown
from tests.waiting import Until

# What the fixture of `conftest.py` yields; test folders are no packages to import from.
FakeServer = Any
SECRET = "s" * 32
ENVIRON = {"JWT_SECRET": SECRET}

# Children that stand in for the server: one that serves, one that will not stop, one that dies.
SERVING_CHILD = """
import os
from aiohttp import web
app = web.Application()
app.router.add_get("/readyz", lambda _: web_ok())
async def web_ok(): return web.Response(text="ok")
web.run_app(app, port=int(os.environ["PORT"]), handle_signals=True, print=None)
"""
UNTIL = Until()
UNSTOPPABLE_CHILD = (
    "import signal, threading; signal.signal(15, signal.SIG_IGN); print('no'); "
    "threading.Event().wait(60)"
)
CRASHING_CHILD = "print('no engine found'); raise SystemExit(3)"


def options(url: str, duration_s: float | None = 1.0) -> DemoOptions:
    return DemoOptions(
        riders=3, vendors=2, customers=3, orders_per_minute=60, duration_s=duration_s, url=url
    )


async def start_child(
    code: str, folder: Path, port: int, patch: pytest.MonkeyPatch
) -> server_process.ServerProcess:
    patch.setattr(server_process, "COMMAND", (sys.executable, "-c", code))
    return await server_process.start_server({**os.environ, "DATA_DIR": str(folder)}, port, SECRET)


async def test_a_balanced_run_ends_well(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A demo with an end runs the city, reads the books and says 0."""
    assert await runner.Demo(options(fake_server.url), ENVIRON).run() == 0
    assert "the ledger balances" in capsys.readouterr().out
    assert fake_server.services == {"FOOD", "MART", "PACKAGE"}


async def test_an_unbalanced_run_does_not(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Money out of nothing makes the exit code 1."""
    fake_server.trial_balance_total = 5
    assert await runner.Demo(options(fake_server.url), ENVIRON).run() == 1
    assert "DOES NOT BALANCE" in capsys.readouterr().out


async def test_ctrl_c_ends_everything(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """One SIGINT stops an endless demo within five seconds, books included."""
    running = asyncio.create_task(runner.Demo(options(fake_server.url, None), ENVIRON).run())
    async with asyncio.timeout(20):
        await UNTIL.true(lambda: bool(fake_server.seqs or fake_server.orders))
    async with asyncio.timeout(5):
        os.kill(os.getpid(), signal.SIGINT)
        assert await running == 0
    assert "stopping" in capsys.readouterr().out


async def test_no_server_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """An address where nobody serves is said in one line."""
    assert await runner.Demo(options("http://127.0.0.1:9"), ENVIRON).run() == 1
    assert "does not serve" in capsys.readouterr().err


def test_a_foreign_server_needs_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens for a server that runs already cannot be made up."""
    monkeypatch.delenv("JWT_SECRET", raising=False)
    with pytest.raises(InvalidOptions, match="JWT_SECRET"):
        runner.run(options("http://127.0.0.1:9"))


async def test_a_child_serves_and_stops(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child is waited for until it is ready, and ends by itself when asked."""
    child = await start_child(SERVING_CHILD, tmp_path, unused_tcp_port, monkeypatch)
    told: list[str] = []
    async with aiohttp.ClientSession() as session:
        await child.wait_ready(session, told.append)
    assert told[-1].startswith("server ready after")
    assert await child.stop() is True
    assert child.has_ended


async def test_a_taken_port_is_said(
    tmp_path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody serves on the port already, he is not taken for our server."""
    port = int(fake_server.url.rpartition(":")[2])
    with pytest.raises(ServerDown, match="is taken"):
        await start_child(SERVING_CHILD, tmp_path, port, monkeypatch)


async def test_a_stubborn_child_is_killed(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that ignores SIGTERM is killed, and that is no good end."""
    child = await start_child(UNSTOPPABLE_CHILD, tmp_path, unused_tcp_port, monkeypatch)
    async with asyncio.timeout(10):
        await UNTIL.true(lambda: bool(child.log_tail()))
    assert await child.stop(within_s=0.1) is False
    assert child.process.returncode == -signal.SIGKILL


async def test_a_dying_child_says_why(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last lines of a server that did not come up are shown."""
    child = await start_child(CRASHING_CHILD, tmp_path, unused_tcp_port, monkeypatch)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ServerDown, match="no engine found"):
            await child.wait_ready(session, lambda _: None)


def test_the_office_makes_a_secret_where_there_is_none() -> None:
    """Without JWT_SECRET every run has a secret of its own, long enough for HS256."""
    secrets = {make_token_signer({}, lambda: 0).secret for _ in range(2)}
    assert len(secrets) == 2
    assert min(map(len, secrets)) >= 32
