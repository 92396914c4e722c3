"""The demo from start to the ledger check, on a fake server."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from city.demo import runner
from city.demo.runner import DemoOptions, InvalidOptions
from tests.city.fake_server import SECRET, FakeServer
from tests.waiting import Until

ENVIRON = {"JWT_SECRET": SECRET}

UNTIL = Until()
# Far above what any of these takes, also on a busy machine.
WAIT_S = 60


def options(url: str, duration_s: float | None = 1.0) -> DemoOptions:
    return DemoOptions(
        riders=3, vendors=2, customers=3, orders_per_minute=60, duration_s=duration_s, url=url
    )


async def test_a_balanced_run_exits_with_0(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A demo with a duration runs the city, reads the trial balance and exits with 0."""
    assert await runner.Demo(options(fake_server.url), ENVIRON).run() == 0
    assert "the ledger balances" in capsys.readouterr().out
    assert fake_server.services == {"FOOD", "MART", "PACKAGE"}


async def test_an_unbalanced_run_exits_with_1(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trial balance that is not zero makes the exit code 1."""
    fake_server.trial_balance_total = 5
    assert await runner.Demo(options(fake_server.url), ENVIRON).run() == 1
    assert "DOES NOT BALANCE" in capsys.readouterr().out


async def test_ctrl_c_ends_the_demo(
    fake_server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """One SIGINT stops a demo without a duration, and the ledger is checked."""
    demo = asyncio.create_task(runner.Demo(options(fake_server.url, None), ENVIRON).run())
    await UNTIL.true(lambda: bool(fake_server.seqs or fake_server.orders), WAIT_S)
    async with asyncio.timeout(WAIT_S):
        os.kill(os.getpid(), signal.SIGINT)
        assert await demo == 0
    printed = capsys.readouterr().out
    assert "stopping" in printed
    assert "the ledger balances" in printed


async def test_a_missing_server_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """An address without a server ends the demo with one line and exit code 1."""
    assert await runner.Demo(options("http://127.0.0.1:9"), ENVIRON).run() == 1
    assert "no server is ready at" in capsys.readouterr().err


def test_a_running_server_needs_its_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With neither JWT_SECRET nor a secret in DATA_DIR the demo does not start."""
    monkeypatch.delenv("JWT_SECRET", raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    with pytest.raises(InvalidOptions, match="JWT_SECRET"):
        runner.run(options("http://127.0.0.1:9"))
