"""Load shedding: when it starts and stops, and how many held fixes run in one tick."""

import asyncio

import pytest

from dispatch import metrics
from dispatch.clock import ManualClock
from handlers.transport.load_shedding import (
    FIXES_PER_TICK,
    LAG_THRESHOLD_S,
    RECOVERY_S,
    LoadShedder,
)
from tests.waiting import Until

LAG_S, NO_LAG_S = 2 * LAG_THRESHOLD_S, 0.0


class FakeHolder:
    """Counts how often its fix was run."""

    def __init__(self) -> None:
        self.run_count = 0

    def run_held_fix(self) -> None:
        self.run_count += 1


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def load_shedder(clock: ManualClock) -> LoadShedder:
    return LoadShedder(clock)


async def test_load_is_shed_from_the_first_lag_until_the_recovery(
    load_shedder: LoadShedder, clock: ManualClock
):
    """It stops one second after the last lag, not after the first."""
    load_shedder.record_lag(LAG_THRESHOLD_S)
    assert not load_shedder.is_shedding
    load_shedder.record_lag(LAG_S)
    assert load_shedder.is_shedding
    clock.advance(500)
    load_shedder.record_lag(LAG_S)
    clock.advance(int(RECOVERY_S * 1000))
    load_shedder.record_lag(NO_LAG_S)
    assert load_shedder.is_shedding
    clock.advance(1)
    load_shedder.record_lag(NO_LAG_S)
    assert not load_shedder.is_shedding


async def test_each_start_is_counted_once(load_shedder: LoadShedder):
    """Two lags in a row are one start."""
    before = _value_of_starts()
    load_shedder.record_lag(LAG_S)
    load_shedder.record_lag(LAG_S)
    assert _value_of_starts() - before == 1


def _value_of_starts() -> float:
    [family] = metrics.LOAD_SHEDDING_STARTS.collect()
    return next(each.value for each in family.samples if each.name.endswith("_total"))


async def test_a_held_fix_runs_in_the_next_tick(load_shedder: LoadShedder):
    """And only then."""
    holder = FakeHolder()
    load_shedder.record_lag(LAG_S)
    load_shedder.enqueue(holder)
    assert holder.run_count == 0
    await asyncio.sleep(0)
    assert holder.run_count == 1


async def test_fixes_per_tick_are_bounded(load_shedder: LoadShedder):
    """The holder above the bound waits for another tick, in which new frames are read first."""
    holders = [FakeHolder() for _ in range(FIXES_PER_TICK + 1)]
    load_shedder.record_lag(LAG_S)
    for holder in holders:
        load_shedder.enqueue(holder)
    await asyncio.sleep(0)
    assert [holders[0].run_count, holders[-2].run_count, holders[-1].run_count] == [1, 1, 0]
    await asyncio.sleep(0)
    assert holders[-1].run_count == 1


async def test_all_held_fixes_run_when_shedding_stops(
    load_shedder: LoadShedder, clock: ManualClock
):
    """None waits for a tick after that, and none runs twice."""
    holders = [FakeHolder() for _ in range(FIXES_PER_TICK + 1)]
    load_shedder.record_lag(LAG_S)
    for holder in holders:
        load_shedder.enqueue(holder)
    clock.advance(int(RECOVERY_S * 1000) + 1)
    load_shedder.record_lag(NO_LAG_S)
    assert {holder.run_count for holder in holders} == {1}
    await asyncio.sleep(0)
    assert {holder.run_count for holder in holders} == {1}


async def test_the_loop_measures_its_own_lag(until: Until):
    """A clock that jumps while the loop waits shows a lag, and load is shed."""

    class JumpingClock(ManualClock):
        def monotonic_s(self) -> float:
            self.advance(1_000)
            return super().monotonic_s()

    load_shedder = LoadShedder(JumpingClock())
    assert not load_shedder.is_shedding
    async with until.running(load_shedder.run):
        await until.true(lambda: load_shedder.is_shedding)
