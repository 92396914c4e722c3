"""Statistics and helpers of the benches."""

import asyncio
import gc
import os
from collections.abc import Callable

import pytest

from bench.common.harness import (
    BenchFailed,
    cpu_s,
    free_port,
    gc_disabled,
    percentiles_ms,
    quantile,
    run_limited,
    without_settings,
)


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_a_quantile_is_the_nearest_rank(share: float, value: int):
    """Of 1 to 100 the quantile is the value at its rank."""
    assert quantile(list(range(100, 0, -1)), share) == value


def test_nothing_measured_is_a_failure():
    """A quantile of no values fails the bench."""
    with pytest.raises(BenchFailed, match="nothing was measured"):
        quantile([], 0.5)


def test_percentiles_are_in_milliseconds():
    """Median and 99th percentile of seconds are two named figures in milliseconds."""
    assert percentiles_ms("ack", [0.001, 0.002, 0.0034567]) == {
        "ack_p50_ms": 2.0,
        "ack_p99_ms": 3.46,
    }


async def test_jobs_run_at_a_limit_and_keep_their_order():
    """At most three of ten jobs run at a time, and the results are in the jobs' order."""
    running, most = 0, 0

    def job(number: int) -> Callable[[], "asyncio.Future[int]"]:
        async def work() -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(10 - number):
                await asyncio.sleep(0)
            running -= 1
            return number

        return lambda: asyncio.ensure_future(work())

    assert await run_limited(3, [job(number) for number in range(10)]) == list(range(10))
    assert most == 3


def test_settings_of_the_developer_do_not_reach_a_bench(monkeypatch: pytest.MonkeyPatch):
    """The server's settings and the AWS account are left out, other variables are kept."""
    for name in ("REDIS_URL", "AWS_PROFILE", "UNRELATED"):
        monkeypatch.setenv(name, "x")
    kept = without_settings(os.environ)
    assert kept["UNRELATED"] == "x"
    assert not {"REDIS_URL", "AWS_PROFILE"} & kept.keys()


def test_the_garbage_collector_is_off_inside_the_block():
    """Collection is off inside the block and on after it."""
    with gc_disabled():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_cpu_of_a_process_grows():
    """This process has used some CPU, and does not use less later."""
    before = cpu_s(os.getpid())
    assert 0 < before <= cpu_s(os.getpid())


def test_a_free_port_is_a_port():
    """A free port is in the range of ports that need no privilege."""
    assert 1024 <= free_port() <= 65_535
