"""Injected faults and latencies."""

import random

import pytest

from ledger.dynamodb.fake.faults import Fault, FaultInjector, Latencies


def test_scripted_faults_happen_at_their_calls() -> None:
    """A fault happens at the call of its number, and is counted."""
    faults = FaultInjector(scripted={2: Fault.LOSE_REPLY})
    happened = [faults.next_fault("get_item") for _ in range(3)]
    assert happened == [None, Fault.LOSE_REPLY, None]
    assert faults.counts == {Fault.LOSE_REPLY: 1}


def test_random_faults_follow_their_rates() -> None:
    """Of 10,000 calls a tenth fails, the same ones for the same seed."""
    runs = []
    for _ in range(2):
        faults = FaultInjector(seed=1, rates={Fault.THROTTLE: 0.1})
        runs.append([faults.next_fault("query") for _ in range(10_000)])
    assert runs[0] == runs[1]
    assert 900 < runs[0].count(Fault.THROTTLE) < 1_100


def test_a_fault_that_cannot_happen_does_not() -> None:
    """Only transactions conflict, and only batches are processed in part."""
    scripted = {1: Fault.CONFLICT, 2: Fault.PARTIAL_BATCH}
    faults = FaultInjector(scripted=scripted)
    assert [faults.next_fault("get_item") for _ in range(2)] == [None, None]
    assert not faults.counts


def test_random_faults_can_be_stopped() -> None:
    """After it only scripted faults happen."""
    faults = FaultInjector(rates={Fault.DELAY: 1.0}, scripted={3: Fault.THROTTLE})
    first = faults.next_fault("query")
    faults.stop_random_faults()
    assert [first, *(faults.next_fault("query") for _ in range(2))] == [
        Fault.DELAY,
        None,
        Fault.THROTTLE,
    ]


def test_a_caller_crashes_at_the_scripted_await() -> None:
    """The error is raised at that await, and not before or after it."""
    faults = FaultInjector()
    faults.crash_at_await, faults.crash_error = 2, KeyError("crash")
    faults.count_await()
    with pytest.raises(KeyError):
        faults.count_await()
    faults.count_await()


def test_latencies_vary_by_their_spread() -> None:
    """Without a spread a time is exact, with one it lies within it."""
    rng = random.Random(1)
    assert Latencies().jitter(2.0, rng) == 2.0
    times = [Latencies(spread=0.5).jitter(2.0, rng) for _ in range(500)]
    assert 1.0 <= min(times) < 1.1
    assert 2.9 < max(times) <= 3.0
