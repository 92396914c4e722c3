"""Every await of every flow as its last: see tests.ledger.scenarios.crashes for many seeds."""

import pytest

from dispatch.money.settlement_worker import Settler
from tests.ledger.scenarios.crashes import Crash, crash, crashes, is_kept
from tests.ledger.scenarios.flows import FLOWS, Flow

BY_NAME = {flow.name: flow for flow in FLOWS}


def broken(flow: Flow, seed: int) -> list[Crash]:
    return [came for came in crashes(flow, seed) if not is_kept(came)]


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])
def test_a_process_may_die_anywhere(flow: Flow, seed: int) -> None:
    """Wherever it dies, on a good day and on a bad one, the books are right within a minute."""
    assert broken(flow, seed) == []


def test_a_crash_comes_again_from_its_seed() -> None:
    """The same seed and place make the same crash."""
    flow = BY_NAME["call_off_paid"]
    assert crash(flow, 2, 5) == crash(flow, 2, 5)


def test_a_house_that_does_not_sweep_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sweep a delivery stays unpaid where its process died before the write."""

    async def nothing(_self: Settler) -> int:
        return 0

    monkeypatch.setattr(Settler, "sweep_once", nothing)
    assert broken(BY_NAME["settle_cash"], 1)
