"""Flows of two people: what one operator proposed and another one approves, and a late payment."""

from dispatch.ids import new_id
from dispatch.money.approvals.acts import RefundAct
from dispatch.money.payouts.store import PayoutStore
from dispatch.wire.http.admin_money import PayoutGate, PayoutOutcome
from dispatch.wire.webhooks import PAYOUT_PAID, PayoutEvent, PayoutReport
from ledger.core.facts import BorneBy
from tests.ledger.scenarios.auditor import Items
from tests.ledger.scenarios.cluster import CUSTOMER, Response, ServerNode, build_caller
from tests.ledger.scenarios.money_flows import (
    AMOUNT,
    FLOWS,
    PAYOUT_AMOUNT,
    MoneyFlow,
    Subject,
    is_refunded,
    order_settled,
    payout_state_is,
    payout_submitted,
)

MAKER = build_caller("ops", "adm_3", "propose", None)
CHECKER = build_caller("ops", "adm_4", "agree", None)


async def refund_proposed(node: ServerNode) -> Subject:
    """A refund that waits for another operator; `payment_id` is the approval's id."""
    on = await order_settled(node)
    act = RefundAct(
        order_id=on.id,
        refund_id=new_id("ref"),
        user_id=CUSTOMER,
        amount=AMOUNT,
        borne_by=BorneBy.PARTIES,
        reason="cold",
    )
    proposed = await node.proposals.propose(MAKER, act)
    return Subject(on.id, proposed["approvalId"])


async def payout_proposed(node: ServerNode) -> Subject:
    """A payout whose failure another operator is to confirm."""
    on = await payout_submitted(node)
    report = PayoutOutcome(status="FAILED", reason="nothing arrived")
    proposed = await node.payouts.decisions.record_manual_outcome(MAKER, on.id, report)
    return Subject(on.id, proposed["approvalId"])


async def payout_failed_by_hand(node: ServerNode) -> Subject:
    """A payout that two operators booked as failed while its provider still works on it."""
    on = await payout_proposed(node)
    await node.approval_service.approve(CHECKER, on.payment_id)
    return Subject(on.id)


async def opening_proposed(node: ServerNode) -> Subject:
    """Stopped payouts that another operator is to let continue."""
    decisions = node.payouts.decisions
    closer = build_caller("ops", "adm_5", "close", None)
    await decisions.set_gate(closer, PayoutGate(stopped=True, reason="a break"))
    proposed = await decisions.set_gate(MAKER, PayoutGate(stopped=False, reason="repaired"))
    return Subject("", proposed["approvalId"])


async def approve(node: ServerNode, on: Subject) -> Response:
    """Another operator approves."""
    return await node.approval_service.approve(CHECKER, on.payment_id)


async def propose_outcome(node: ServerNode, on: Subject) -> Response:
    """An operator reports that a payout failed, which its provider carries out."""
    report = PayoutOutcome(status="FAILED", reason="nothing arrived")
    return await node.payouts.decisions.record_manual_outcome(MAKER, on.id, report)


async def reject(node: ServerNode, on: Subject) -> Response:
    """Another operator rejects."""
    return await node.approval_service.reject(CHECKER, on.payment_id, "not this one")


async def report_paid(node: ServerNode, on: Subject) -> Response:
    """The provider reports that it has paid."""
    payout = await PayoutStore(node.table, node.clock).get(on.id)
    report = PayoutReport(
        payout_id=on.id,
        reference=payout.provider_ref or "",
        amount=PAYOUT_AMOUNT,
        currency="XAF",
    )
    event = PayoutEvent(type=PAYOUT_PAID, data=report)
    key = build_caller("provider", payout.provider, "paid", None).request_key
    assert key is not None
    return await node.payouts.reports.handle_webhook_event(payout.provider, event, key)


def is_gate_open(items: Items, _on: Subject) -> bool:
    """Payouts continue, and both changes of the gate are kept."""
    changes = [pk for pk, _ in items if pk == "PAYOUT_GATE"]
    return items["CONFIG#GLOBAL", "PAYOUTS"]["stopped"] is False and len(changes) == 2


def is_proposed(items: Items, _on: Subject) -> bool:
    """One act waits for approval."""
    return [item["approvalState"] for item in items.values() if "approvalState" in item] == [
        "PENDING"
    ]


def is_rejected(items: Items, on: Subject) -> bool:
    """The act is rejected, and nothing was refunded."""
    state = items[f"APPROVAL#{on.payment_id}", "APPROVAL"]["approvalState"]
    return state == "REJECTED" and items[f"ORDER#{on.id}", "FUNDS"]["refunded"] == 0


APPROVAL_FLOWS = [
    MoneyFlow("propose_outcome", payout_submitted, propose_outcome, is_proposed),
    MoneyFlow("approve_refund", refund_proposed, approve, is_refunded),
    MoneyFlow("reject_refund", refund_proposed, reject, is_rejected),
    MoneyFlow("approve_failure", payout_proposed, approve, payout_state_is("FAILED")),
    MoneyFlow("approve_opening", opening_proposed, approve, is_gate_open),
    MoneyFlow("report_paid_late", payout_failed_by_hand, report_paid, payout_state_is("PAID")),
]

# Every flow; crashes, conflicts, mutations and audits cover them all.
ALL_FLOWS = [*FLOWS, *APPROVAL_FLOWS]
