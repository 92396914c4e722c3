"""Clocks: the system's runs by itself, the manual one only when it is advanced."""

import time

import pytest

from dispatch.clock import ManualClock, SystemClock


def test_system_clock_is_the_machines():
    """Wall time is that of the machine in milliseconds; the steady clock never runs back."""
    clock = SystemClock()
    before_ms, now_ms, after_ms = time.time() * 1000, clock.now_ms(), time.time() * 1000
    assert int(before_ms) <= now_ms <= after_ms
    assert clock.monotonic_s() <= clock.monotonic_s()


def test_manual_clock_moves_when_advanced():
    """Both times move by what the clock was advanced, and not otherwise."""
    clock = ManualClock(start_ms=5_000)
    assert (clock.now_ms(), clock.monotonic_s()) == (5_000, 5.0)
    clock.advance(1_500)
    assert (clock.now_ms(), clock.monotonic_s()) == (6_500, 6.5)


def test_manual_clock_does_not_run_back():
    """Moving the clock back is a bug."""
    with pytest.raises(AssertionError):
        ManualClock().advance(-1)
