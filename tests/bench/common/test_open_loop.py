"""A pair of an open loop: which fixes were shown, superseded or out of order."""

from typing import Any

from bench.common.open_loop import OpenLoopPair
from tests.bench.common.stub_socket import StubSocket, position, sent_times


def pair_with_fixes(count: int) -> tuple[OpenLoopPair, StubSocket, list[int]]:
    """A pair whose rider has sent so many fixes, each with a time of its own."""
    rider: Any = StubSocket()
    watcher: Any = StubSocket()
    pair = OpenLoopPair(0, rider, watcher)
    for number in range(count):
        pair.send_fix(1_000.0 + number)
    return pair, watcher, sent_times(rider)


def show(watcher: StubSocket, at_ms: int) -> None:
    assert watcher.on_position is not None
    watcher.on_position(position(at_ms))


def test_a_shown_fix_has_a_latency():
    """A fix that is shown is counted once, with a latency, and is no longer in flight."""
    pair, watcher, [at_ms] = pair_with_fixes(1)
    assert pair.has_unseen_fix
    show(watcher, at_ms)
    assert len(pair.latencies_s) == 1
    assert (pair.superseded, pair.out_of_order, pair.has_unseen_fix) == (0, 0, False)


def test_older_fixes_are_superseded_by_a_shown_one():
    """Of three fixes only the last is shown: the two others are superseded."""
    pair, watcher, times = pair_with_fixes(3)
    show(watcher, times[-1])
    assert (len(pair.latencies_s), pair.superseded) == (1, 2)


def test_a_view_that_lags_has_an_age():
    """When the first of two fixes is shown, the customer's view has an age."""
    pair, watcher, times = pair_with_fixes(2)
    show(watcher, times[0])
    assert len(pair.ages_s) == 1
    assert pair.has_unseen_fix


def test_an_older_position_after_a_newer_one_is_out_of_order():
    """A position with an earlier time than one shown before is counted."""
    pair, watcher, times = pair_with_fixes(2)
    show(watcher, times[1])
    show(watcher, times[0])
    assert pair.out_of_order == 1


def test_two_fixes_never_have_the_same_time():
    """Within one millisecond a second fix is not sent, because its time identifies it."""
    rider: Any = StubSocket()
    watcher: Any = StubSocket()
    pair = OpenLoopPair(0, rider, watcher)
    for now_s in (1.0001, 1.0002, 1.0013):
        pair.send_fix(now_s)
    assert sent_times(rider) == [1000, 1001]
    assert pair.sent == 2
