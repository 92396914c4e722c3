"""The payout gate keeps every change, and a change that was not looked into stays."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.money.approvals.proposals import keep_answer
from dispatch.money.payouts.gate_store import CHANGES_SHOWN, GateChange
from tests.dispatch.money.conftest import MoneyScenario, operator

pytestmark = pytest.mark.engines


def opening(money: MoneyScenario) -> GateChange:
    """A change that lets payouts continue."""
    now_ms = money.clock.now_ms()
    return GateChange(stopped=False, reason="fixed", by="adm_3", at=now_ms, proposed_by="adm_2")


async def test_the_gate_is_open_before_it_was_ever_closed(money: MoneyScenario):
    """Its fields are None, and there are no changes."""
    nothing = dict.fromkeys(("stopped", "reason", "by", "at"))
    assert await money.payout_gate.get() == {**nothing, "changes": []}


async def test_every_change_stays(money: MoneyScenario):
    """Reopening leaves the record of who stopped payouts and why."""
    stopped_at = money.clock.now_ms()
    await money.payout_gate.stop("a break", "adm_1", keep_answer(operator()))
    money.clock.advance(5)
    await money.payout_gate.reopen(opening(money), stopped_at, keep_answer(operator()))
    gate = await money.payout_gate.get()
    assert (gate["stopped"], gate["reason"], gate["by"]) == (False, "fixed", "adm_3")
    assert gate["changes"] == [
        {
            "stopped": False,
            "reason": "fixed",
            "by": "adm_3",
            "at": stopped_at + 5,
            "proposedBy": "adm_2",
        },
        {"stopped": True, "reason": "a break", "by": "adm_1", "at": stopped_at},
    ]


async def test_a_stop_since_the_proposal_is_not_undone(money: MoneyScenario):
    """Who proposed to reopen has not looked into the later reason."""
    stopped_at = money.clock.now_ms()
    await money.payout_gate.stop("a break", "adm_1", keep_answer(operator()))
    money.clock.advance(5)
    await money.payout_gate.stop_by_server("another break", "ledger_monitor")
    with pytest.raises(Refused) as raised:
        await money.payout_gate.reopen(opening(money), stopped_at, keep_answer(operator()))
    assert raised.value.code is Refusal.CONFLICT
    assert (await money.payout_gate.get())["reason"] == "another break"


async def test_the_server_records_a_reason_once(money: MoneyScenario):
    """The same break found again adds neither a change nor an audit record."""
    for _ in range(3):
        await money.payout_gate.stop_by_server("a break", "ledger_monitor")
        money.clock.advance(1)
    assert len((await money.payout_gate.get())["changes"]) == 1
    assert await money.audited() == [("ledger_monitor", "stop_payouts", "payout_gate")]


async def test_the_last_changes_are_shown(money: MoneyScenario):
    """What is shown is bounded; the newest is first."""
    for number in range(CHANGES_SHOWN + 3):
        await money.payout_gate.stop(f"reason {number}", "adm_1", keep_answer(operator()))
        money.clock.advance(1)
    changes = (await money.payout_gate.get())["changes"]
    assert (len(changes), changes[0]["reason"]) == (CHANGES_SHOWN, f"reason {CHANGES_SHOWN + 2}")
