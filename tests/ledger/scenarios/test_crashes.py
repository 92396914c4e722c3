"""A crash at every await of every flow; see tests.ledger.scenarios.crashes for many seeds."""

import pytest

from dispatch.money.settlement_worker import SettlementWorker
from tests.ledger.scenarios.approval_flows import ALL_FLOWS
from tests.ledger.scenarios.crashes import (
    CrashRun,
    is_consistent,
    run_with_all_crashes,
    run_with_crash,
)
from tests.ledger.scenarios.money_flows import MoneyFlow

FLOWS_BY_NAME = {flow.name: flow for flow in ALL_FLOWS}


def inconsistent_runs(flow: MoneyFlow, seed: int) -> list[CrashRun]:
    return [run for run in run_with_all_crashes(flow, seed) if not is_consistent(run)]


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("flow", ALL_FLOWS, ids=[flow.name for flow in ALL_FLOWS])
def test_a_process_may_die_anywhere(flow: MoneyFlow, seed: int) -> None:
    """With and without other faults, a crash at any await is recovered within a minute."""
    assert inconsistent_runs(flow, seed) == []


def test_a_crash_is_reproducible_from_its_seed() -> None:
    """The same seed and await give the same run."""
    flow = FLOWS_BY_NAME["cancel_paid"]
    assert run_with_crash(flow, 2, 5) == run_with_crash(flow, 2, 5)


def test_a_missing_settlement_sweep_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sweep a cash order whose process died before the write is never settled."""

    async def nothing(_self: SettlementWorker) -> int:
        return 0

    monkeypatch.setattr(SettlementWorker, "sweep_once", nothing)
    assert inconsistent_runs(FLOWS_BY_NAME["settle_cash"], 1)
