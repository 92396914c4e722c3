"""A pair of a closed loop: the next fix is sent when the last one was shown."""

from typing import Any

from bench.common.closed_loop import ClosedLoopPair
from bench.common.scenario import BenchOrder, Person
from tests.bench.common.stub_socket import StubSocket, position, sent_times


def pair_of() -> tuple[ClosedLoopPair, StubSocket, StubSocket]:
    rider: Any = StubSocket()
    watcher: Any = StubSocket()
    shop: Any = StubSocket()
    order = BenchOrder(
        "ord_1",
        Person(("VENDOR", "ven_0"), 4.05, 9.72, shop),
        Person(("USER", "usr_0"), 4.06, 9.72, watcher),
        Person(("RIDER", "rdr_0"), 4.05, 9.72, rider),
    )
    return ClosedLoopPair(order), rider, watcher


def show(watcher: StubSocket, at_ms: int) -> None:
    assert watcher.on_position is not None
    watcher.on_position(position(at_ms))


def test_the_next_fix_waits_for_the_last_one():
    """One fix is in flight at a time; each that is shown sends the next and has a latency."""
    pair, rider, watcher = pair_of()
    pair.start()
    assert len(rider.sent) == 1
    for _ in range(3):
        show(watcher, sent_times(rider)[-1])
    assert len(rider.sent) == 4
    assert (len(pair.latencies_s), pair.mismatches, pair.is_seen) == (3, 0, False)


def test_a_stopped_pair_sends_no_further_fix():
    """After `stop` the last fix is still seen, and no other is sent."""
    pair, rider, watcher = pair_of()
    pair.start()
    pair.stop()
    show(watcher, sent_times(rider)[-1])
    assert (len(rider.sent), pair.is_seen) == (1, True)


def test_another_position_is_a_mismatch():
    """A position that is not that of the fix in flight is counted."""
    pair, rider, watcher = pair_of()
    pair.start()
    show(watcher, sent_times(rider)[-1] - 1)
    assert pair.mismatches == 1
