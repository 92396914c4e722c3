"""Readiness at start: the server says that it is ready when its stores answer, not before."""

import asyncio

import pytest
from structlog.testing import capture_logs

from dispatch.errors import StoreUnavailable
from handlers.app import readiness
from tests import virtual_time


class FailingProbe:
    """A probe that fails so many times, and then succeeds."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def __call__(self) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise StoreUnavailable("redis", "away")


@pytest.mark.parametrize("failures", [0, 1, 5])
def test_it_waits_until_every_store_answers(failures: int):
    """The wait ends with the first moment in which no probe fails; the cause is logged once."""
    probes = {"redis": FailingProbe(failures), "dynamodb": FailingProbe(0)}

    async def wait() -> bool:
        return await readiness.wait_until_ready(probes, asyncio.Event(), virtual_time.clock())

    with capture_logs() as logs:
        assert virtual_time.run(wait())
    assert probes["redis"].failures == -1
    expected = [{"down": ["redis"], "event": "not_ready", "log_level": "warning"}]
    assert logs == expected[:failures]


def test_a_stopped_server_is_never_ready():
    """A server that is stopped while a store is away ends its wait."""

    async def wait() -> bool:
        stopped = asyncio.Event()
        asyncio.get_running_loop().call_later(1.0, stopped.set)
        probes = {"redis": FailingProbe(10**9)}
        return await readiness.wait_until_ready(probes, stopped, virtual_time.clock())

    assert not virtual_time.run(wait())
