"""Every await of every flow as its last: see tests.ledger.scenarios.crashes for many seeds."""

import pytest

from dispatch.money.settlement_worker import SettlementWorker
from tests.ledger.scenarios.crashes import (
    CrashRun,
    is_consistent,
    run_with_all_crashes,
    run_with_crash,
)
from tests.ledger.scenarios.money_flows import FLOWS, MoneyFlow

FLOWS_BY_NAME = {flow.name: flow for flow in FLOWS}


def inconsistent_runs(flow: MoneyFlow, seed: int) -> list[CrashRun]:
    return [came for came in run_with_all_crashes(flow, seed) if not is_consistent(came)]


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])
def test_a_process_may_die_anywhere(flow: MoneyFlow, seed: int) -> None:
    """Wherever it dies, on a good day and on a bad one, the books are right within a minute."""
    assert inconsistent_runs(flow, seed) == []


def test_a_crash_is_reproducible_from_its_seed() -> None:
    """The same seed and place make the same crash."""
    flow = FLOWS_BY_NAME["call_off_paid"]
    assert run_with_crash(flow, 2, 5) == run_with_crash(flow, 2, 5)


def test_a_missing_settlement_sweep_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sweep a delivery stays unpaid where its process died before the write."""

    async def nothing(_self: SettlementWorker) -> int:
        return 0

    monkeypatch.setattr(SettlementWorker, "sweep_once", nothing)
    assert inconsistent_runs(FLOWS_BY_NAME["settle_cash"], 1)
