"""The clock of the simulated city."""

from city.model.clock import MachineClock


def test_the_machines_clock_does_not_go_back():
    """Two readings of the steady clock are in order, and wall time is in milliseconds."""
    clock = MachineClock()
    before, after = clock.monotonic_s(), clock.monotonic_s()
    assert before <= after
    # After 2020 and before 2100.
    assert 1_577_836_800_000 < clock.now_ms() < 4_102_444_800_000
