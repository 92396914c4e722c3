"""Stale decisions: an attribute changes between the read and the write that depends on it.

Some of these changes can happen, some only by a bug elsewhere; the write must be cancelled anyway.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from dispatch.errors import Refused, StoreUnavailable
from ledger.dynamodb.attribute_values import from_item, to_item
from ledger.dynamodb.table import Item, Key, TableUnavailable, Write, key_of
from ledger.posting.errors import LedgerRefused
from tests import virtual_time
from tests.ledger.scenarios.approval_flows import ALL_FLOWS
from tests.ledger.scenarios.cluster import TABLE, ServerCluster, ServerNode
from tests.ledger.scenarios.seeded_randomness import seed_randomness

# From the item and the order's id to the changed item.
Change = Callable[[Item, str], Item | None]
FLOWS_BY_NAME = {flow.name: flow for flow in ALL_FLOWS}
EMPTY_WALLET: Item = {
    "posted": 0,
    "held": 0,
    "available": 0,
    "entries": 0,
    "seq": 0,
    "head": "0" * 64,
    "status": "ACTIVE",
    "v": 1,
}


# How a flow may fail after such a change.
_EXPECTED_ERRORS = (
    Refused,
    StoreUnavailable,
    TableUnavailable,
    LedgerRefused,
    AssertionError,
    ValueError,
)


class StaleCase(NamedTuple):
    """A flow, the item whose keys have these prefixes, and its change."""

    flow: str
    pk: str
    sk: str
    change: Change


def with_attributes(**attributes: object) -> Change:
    """Set attributes; creates the item if it is missing."""
    return lambda item, _on: {**item, **attributes}


def with_wallet(**attributes: object) -> Change:
    """Create the account's wallet."""

    def change(item: Item, _on: str) -> Item:
        account = item["PK"].removeprefix("WALLET#")
        return {**item, **EMPTY_WALLET, "account": account, **attributes}

    return change


def without_prefix(prefix: str) -> Change:
    """Remove attributes."""
    return lambda item, _on: {k: v for k, v in item.items() if not k.startswith(prefix)}


def deleted(_item: Item, _on: str) -> None:
    """Delete the item."""


def already_carried(item: Item, on: str) -> Item:
    """The rider carries this order already, while its order count is zero."""
    return {**item, "orderCount": 0, f"carries_{on}": 1}


def with_offer(**attributes: object) -> Change:
    """Change the offer that the rider accepts."""

    def change(item: Item, _on: str) -> Item:
        ((rider, offer),) = item["dispatch"]["offers"].items()
        offers = {rider: {**offer, **attributes}}
        return {**item, "dispatch": {**item["dispatch"], "offers": offers}}

    return change


def with_another_rider(item: Item, _on: str) -> Item:
    return {**item, "dispatch": {**item["dispatch"], "riderId": "rdr_9"}}


STALE_CASES = [
    # Items that must not exist yet.
    StaleCase("place_from_wallet", "ORDER", "FUNDS", with_attributes(fundsState="CAPTURED")),
    StaleCase("place_for_cash", "ORDER", "FUNDS", with_attributes(fundsState="CAPTURED")),
    StaleCase("accept_cash_order", "ORDER", "HOLD", with_attributes(holdState="OPEN")),
    StaleCase("accept_cash_order", "ORDER", "HOLD", with_attributes(holdState="POSTED")),
    StaleCase("cancel_paid", "ORDER", "JE#CANCEL", with_attributes(factHash="x")),
    StaleCase("place_from_wallet", "ORDER", "JE#CAPTURE", with_attributes(factHash="x")),
    StaleCase("settle_cash", "ORDER", "JE#SETTLE", with_attributes(factHash="x")),
    StaleCase("top_up", "PAYMENT", "JE#TOPUP", with_attributes(factHash="x")),
    StaleCase("place_for_cash", "ORDER", "METADATA", with_attributes(version=9)),
    StaleCase("cancel_paid", "OUTBOX", "ENTRY", with_attributes(planted=True)),
    StaleCase("request_top_up", "PAYMENT", "PAYMENT", with_attributes(paymentState="SUCCESS")),
    StaleCase("cancel_paid", "IDEMPOTENCY", "RECORD", with_attributes(bodyHash="x")),
    StaleCase("top_up", "WALLET#CLEARING", "BALANCE", with_wallet()),
    StaleCase("settle_cash", "WALLET#PLATFORM", "BALANCE", with_wallet()),
    StaleCase("settle_cash", "WALLET#RIDER#", "BALANCE", with_wallet()),
    StaleCase("settle_cash", "WALLET#VENDOR", "BALANCE", with_wallet()),
    StaleCase("top_up", "WALLET#USER", "BALANCE", with_wallet()),
    StaleCase("settle_cash", "WALLET#RIDER#", "TXN", with_attributes(planted=True)),
    StaleCase("settle_cash", "WALLET#RIDERCASH", "TXN", with_attributes(planted=True)),
    StaleCase("settle_cash", "WALLET#VENDOR", "TXN", with_attributes(planted=True)),
    StaleCase("top_up", "WALLET#USER", "TXN", with_attributes(planted=True)),
    # The order's funds.
    StaleCase("cancel_paid", "ORDER", "FUNDS", with_attributes(fundsState="DELIVERED")),
    StaleCase("cancel_paid", "ORDER", "FUNDS", with_attributes(escrow=1)),
    StaleCase("cancel_paid", "ORDER", "FUNDS", with_attributes(termsHash="x")),
    StaleCase("settle_from_wallet", "ORDER", "FUNDS", with_attributes(fundsState="CAPTURED")),
    StaleCase("settle_from_wallet", "ORDER", "FUNDS", with_attributes(escrow=1)),
    StaleCase("settle_from_wallet", "ORDER", "FUNDS", with_attributes(termsHash="x")),
    StaleCase("settle_from_wallet", "ORDER", "FUNDS", with_attributes(riderId="rdr_9")),
    StaleCase("report_payment", "ORDER", "FUNDS", with_attributes(fundsState="VOID")),
    StaleCase("report_payment", "ORDER", "FUNDS", with_attributes(termsHash="x")),
    StaleCase("complete_and_settle", "ORDER", "FUNDS", with_attributes(fundsState="VOID")),
    StaleCase("cancel_unpaid", "ORDER", "FUNDS", with_attributes(fundsState="CAPTURED")),
    # The hold on a rider's cash.
    StaleCase("release_cash_order", "ORDER", "HOLD", with_attributes(holdState="RELEASED")),
    StaleCase("release_cash_order", "ORDER", "HOLD", with_attributes(riderId="rdr_9")),
    StaleCase("release_cash_order", "ORDER", "HOLD", with_attributes(amount=1)),
    StaleCase("settle_cash", "ORDER", "HOLD", with_attributes(holdState="RELEASED")),
    StaleCase("complete_with_less_cash", "ORDER", "HOLD", with_attributes(holdState="RELEASED")),
    StaleCase("complete_with_less_cash", "ORDER", "HOLD", with_attributes(riderId="rdr_9")),
    StaleCase("complete_with_less_cash", "ORDER", "HOLD", with_attributes(amount=1)),
    StaleCase("settle_less_cash", "ORDER", "FUNDS", with_attributes(cashOwed=1)),
    StaleCase("settle_less_cash", "ORDER", "FUNDS", with_attributes(fundsState="DUE")),
    StaleCase("settle_less_cash", "ORDER", "FUNDS", with_attributes(escrow=1)),
    StaleCase("settle_less_cash", "ORDER", "FUNDS", with_attributes(termsHash="x")),
    StaleCase("settle_less_cash", "ORDER", "FUNDS", with_attributes(riderId="rdr_9")),
    # The order.
    StaleCase("settle_from_wallet", "ORDER", "METADATA", with_attributes(version=99)),
    StaleCase("accept_cash_order", "ORDER", "METADATA", with_attributes(version=99)),
    StaleCase("accept_cash_order", "ORDER", "METADATA", with_offer(offerId="ofr_9")),
    StaleCase("accept_cash_order", "ORDER", "METADATA", with_offer(deadlineMs=0)),
    StaleCase("release_cash_order", "ORDER", "METADATA", with_attributes(version=99)),
    StaleCase("release_cash_order", "ORDER", "METADATA", with_another_rider),
    StaleCase("cancel_paid", "ORDER", "METADATA", with_attributes(version=99)),
    StaleCase("cancel_paid", "ORDER", "METADATA", with_attributes(userId="usr_9")),
    StaleCase("reject_paid", "ORDER", "METADATA", with_attributes(version=99)),
    StaleCase("reject_paid", "ORDER", "METADATA", with_attributes(vendorId="ven_9")),
    # A payment.
    StaleCase("report_top_up", "PAYMENT", "PAYMENT", with_attributes(paymentState="SUCCESS")),
    StaleCase("report_top_up", "PAYMENT", "PAYMENT", with_attributes(userId="usr_9")),
    StaleCase("report_top_up", "PAYMENT", "PAYMENT", with_attributes(amount=1)),
    StaleCase("report_payment", "PAYMENT", "PAYMENT", with_attributes(paymentState="SUCCESS")),
    StaleCase("report_payment", "PAYMENT", "PAYMENT", with_attributes(userId="usr_9")),
    StaleCase("report_payment", "PAYMENT", "PAYMENT", with_attributes(amount=1)),
    StaleCase("report_payment", "PAYMENT", "PAYMENT", with_attributes(orderId="ord_9")),
    StaleCase("report_failure", "PAYMENT", "PAYMENT", with_attributes(paymentState="SUCCESS")),
    # The rider's workload, and the stock.
    StaleCase("release_cash_order", "RIDER", "WORKLOAD", without_prefix("carries_")),
    StaleCase("offer_cash_order", "RIDER", "WORKLOAD", with_attributes(orderCount=1)),
    StaleCase("accept_cash_order", "RIDER", "WORKLOAD", with_attributes(orderCount=1)),
    StaleCase("accept_cash_order", "RIDER", "WORKLOAD", already_carried),
    StaleCase("place_from_wallet", "VENDOR", "ITEM", with_attributes(stock=0)),
    StaleCase("cancel_paid", "VENDOR", "ITEM", without_prefix("stock")),
    # A promotion, and its customer's use.
    StaleCase("create_promotion", "PROMOTION", "PROMOTION", with_attributes(amount=1)),
    StaleCase("create_promotion", "AUDIT", "", with_attributes(planted=True)),
    StaleCase(
        "place_with_promotion", "PROMOTION", "PROMOTION", with_attributes(promoState="STOPPED")
    ),
    StaleCase("place_with_promotion", "PROMOTION", "PROMOTION", with_attributes(endsAt=0)),
    StaleCase("place_with_promotion", "PROMOTION", "PROMOTION", with_attributes(spent=2_001)),
    StaleCase("place_with_promotion", "PROMOTION", "USER", with_attributes(used=1)),
    StaleCase("cancel_with_promotion", "PROMOTION", "PROMOTION", with_attributes(spent=999)),
    StaleCase("cancel_with_promotion", "PROMOTION", "USER", with_attributes(used=0)),
    # Wallets.
    StaleCase("accept_cash_order", "WALLET#RIDERCASH", "BALANCE", with_wallet(exposure=50_000)),
    StaleCase(
        "accept_cash_order",
        "WALLET#RIDERCASH",
        "BALANCE",
        with_wallet(exposure=0, status="FROZEN"),
    ),
    StaleCase("release_cash_order", "WALLET#RIDERCASH", "BALANCE", with_attributes(held=0)),
    StaleCase("complete_with_less_cash", "WALLET#RIDERCASH", "BALANCE", with_attributes(held=0)),
    StaleCase("settle_cash", "WALLET#RIDERCASH", "BALANCE", with_attributes(seq=9)),
    StaleCase("settle_cash", "WALLET#RIDERCASH", "BALANCE", with_attributes(held=0)),
    StaleCase("cancel_paid", "WALLET#USER", "BALANCE", with_attributes(seq=9)),
    StaleCase("place_from_wallet", "WALLET#USER", "BALANCE", with_attributes(seq=9)),
    StaleCase("place_from_wallet", "WALLET#USER", "BALANCE", with_attributes(available=0)),
    StaleCase("place_from_wallet", "WALLET#USER", "BALANCE", with_attributes(status="FROZEN")),
    StaleCase("settle_second_order", "WALLET#VENDOR", "BALANCE", with_attributes(seq=9)),
    StaleCase("settle_second_order", "WALLET#RIDER#", "BALANCE", with_attributes(seq=9)),
    StaleCase("settle_second_order", "WALLET#PLATFORM", "BALANCE", deleted),
    StaleCase("top_up_again", "WALLET#CLEARING", "BALANCE", deleted),
    # Refunds, tips, remitted cash, adjustments.
    StaleCase("refund_partially", "ORDER", "JE#REFUND", with_attributes(factHash="x")),
    StaleCase("refund_partially", "ORDER", "FUNDS", with_attributes(fundsState="CANCELLED")),
    StaleCase("refund_partially", "ORDER", "FUNDS", with_attributes(refunded=1)),
    StaleCase("refund_partially", "ORDER", "FUNDS", with_attributes(shared=1)),
    StaleCase("refund_partially", "WALLET#VENDOR", "BALANCE", with_attributes(seq=9)),
    StaleCase("refund_partially", "WALLET#VENDOR", "BALANCE", with_attributes(available=0)),
    StaleCase("refund_partially", "WALLET#VENDOR", "BALANCE", with_attributes(status="FROZEN")),
    StaleCase("refund_partially", "WALLET#RIDER#", "BALANCE", with_attributes(available=0)),
    StaleCase("refund_partially", "WALLET#RIDER#", "BALANCE", with_attributes(status="FROZEN")),
    StaleCase(
        "propose_adjustment", "ADJUSTMENT", "REQUEST", with_attributes(adjustmentState="POSTED")
    ),
    StaleCase("tip_rider", "ORDER", "JE#TIP", with_attributes(factHash="x")),
    StaleCase("remit_cash", "REMITTANCE", "JE#REMIT", with_attributes(factHash="x")),
    StaleCase("remit_cash", "WALLET#RIDERCASH", "BALANCE", with_attributes(seq=9)),
    StaleCase("remit_cash", "WALLET#RIDERCASH", "BALANCE", with_attributes(posted=0)),
    StaleCase("approve_adjustment", "ADJUSTMENT", "JE#ADJUST", with_attributes(factHash="x")),
    StaleCase(
        "approve_adjustment", "ADJUSTMENT", "REQUEST", with_attributes(adjustmentState="REJECTED")
    ),
    StaleCase("approve_adjustment", "ADJUSTMENT", "REQUEST", with_attributes(maker="adm_2")),
    StaleCase("approve_adjustment", "ADJUSTMENT", "REQUEST", with_attributes(createdAt=0)),
    # Debts.
    StaleCase("settle_less_cash", "WALLET#RECEIVABLE", "BALANCE", with_wallet()),
    StaleCase("top_up_in_debt", "WALLET#RECEIVABLE", "BALANCE", with_attributes(posted=0)),
    # Approvals.
    StaleCase("propose_outcome", "APPROVAL", "APPROVAL", with_attributes(planted=True)),
    StaleCase("approve_refund", "APPROVAL", "APPROVAL", with_attributes(approvalState="REJECTED")),
    StaleCase("approve_refund", "APPROVAL", "APPROVAL", with_attributes(proposedBy="adm_4")),
    StaleCase("approve_refund", "APPROVAL", "APPROVAL", with_attributes(expiresAt=0)),
    StaleCase("approve_failure", "APPROVAL", "APPROVAL", with_attributes(expiresAt=0)),
    StaleCase("approve_opening", "APPROVAL", "APPROVAL", with_attributes(expiresAt=0)),
    StaleCase("reject_refund", "APPROVAL", "APPROVAL", with_attributes(approvalState="APPROVED")),
    StaleCase("approve_opening", "CONFIG", "PAYOUTS", with_attributes(stopped=False)),
    StaleCase("approve_opening", "CONFIG", "PAYOUTS", with_attributes(at=1)),
    StaleCase("approve_opening", "PAYOUT_GATE", "", with_attributes(planted=True)),
    StaleCase("report_paid_late", "PAYOUT", "JE#PAID", with_attributes(factHash="x")),
    StaleCase("report_paid_late", "PAYOUT", "REQUEST", with_attributes(payoutState="RETURNED")),
    StaleCase("report_paid_late", "PAYOUT", "REQUEST", with_attributes(amount=1)),
    StaleCase("report_paid_late", "PAYOUT", "REQUEST", with_attributes(ownerId="ven_9")),
    StaleCase("report_paid_late", "PAYOUT", "REQUEST", with_attributes(ownerType="RIDER")),
    StaleCase("report_paid_late", "WALLET#VENDOR", "BALANCE", with_attributes(available=0)),
    StaleCase("report_paid_late", "WALLET#VENDOR", "BALANCE", with_attributes(status="FROZEN")),
    # Payouts.
    StaleCase("approve_payout", "WALLET#RECEIVABLE", "BALANCE", with_wallet(posted=-5)),
    StaleCase("approve_payout", "CONFIG", "PAYOUTS", with_attributes(stopped=True)),
    StaleCase("request_payout", "PAYOUT", "REQUEST", with_attributes(payoutState="PAID")),
    StaleCase("request_payout", "WALLET#VENDOR", "BALANCE", with_attributes(available=0)),
    StaleCase("request_payout", "WALLET#VENDOR", "BALANCE", with_attributes(status="FROZEN")),
    StaleCase("request_rider_payout", "WALLET#RIDER#", "BALANCE", with_attributes(available=0)),
    StaleCase("request_rider_payout", "WALLET#RIDER#", "BALANCE", with_attributes(status="FROZEN")),
    StaleCase(
        "request_rider_payout",
        "WALLET#RIDERCASH",
        "BALANCE",
        with_attributes(**{**EMPTY_WALLET, "posted": -5, "exposure": 5}),
    ),
    StaleCase("request_payout_with_cash", "PAYOUT", "JE#NET", with_attributes(factHash="x")),
    StaleCase("request_payout_with_cash", "WALLET#RIDER#", "BALANCE", with_attributes(seq=9)),
    StaleCase("request_payout_with_cash", "WALLET#RIDER#", "BALANCE", with_attributes(available=0)),
    StaleCase(
        "request_payout_with_cash", "WALLET#RIDER#", "BALANCE", with_attributes(status="FROZEN")
    ),
    StaleCase("approve_payout", "PAYOUT", "REQUEST", with_attributes(payoutState="REJECTED")),
    StaleCase("approve_payout", "PAYOUT", "REQUEST", with_attributes(requestedBy="adm_1")),
    StaleCase("reject_payout", "PAYOUT", "REQUEST", with_attributes(payoutState="APPROVED")),
    StaleCase("reject_payout", "WALLET#VENDOR", "BALANCE", with_attributes(held=0)),
    StaleCase("report_payout", "PAYOUT", "JE#PAID", with_attributes(factHash="x")),
    StaleCase("report_payout", "PAYOUT", "REQUEST", with_attributes(payoutState="FAILED")),
    StaleCase("report_payout", "PAYOUT", "REQUEST", with_attributes(amount=1)),
    StaleCase("report_payout", "PAYOUT", "REQUEST", with_attributes(ownerId="ven_9")),
    StaleCase("report_payout", "PAYOUT", "REQUEST", with_attributes(ownerType="RIDER")),
    StaleCase("report_payout", "WALLET#VENDOR", "BALANCE", with_attributes(held=0)),
    StaleCase("report_payout", "WALLET#VENDOR", "BALANCE", with_attributes(seq=9)),
]


class ConcurrentChange:
    """Changes the item once, when a transaction is about to write it."""

    def __init__(
        self, cluster: ServerCluster, node: ServerNode, case: StaleCase, order_id: str
    ) -> None:
        self._order_id = order_id
        self._cluster = cluster
        self._case = case
        self._send = node.table.transact
        self.change_count = 0

    async def transact(self, writes: Sequence[Write], token: str | None = None) -> None:
        keys = [key for key in map(key_of, writes) if self._matches(key)]
        for key in keys[: 1 - self.change_count]:
            self._change_item(key)
        await self._send(writes, token)

    def _matches(self, key: Key) -> bool:
        return key.pk.startswith(self._case.pk) and key.sk.startswith(self._case.sk)

    def _change_item(self, key: Key) -> None:
        table = self._cluster.fake.tables[TABLE]
        image = table.get(key)
        item = from_item(image) if image else {"PK": key.pk, "SK": key.sk}
        after = self._case.change(item, self._order_id)
        table.put((key.pk, key.sk), None if after is None else to_item(after), 0)
        self.change_count = 1


def is_stopped(case: StaleCase) -> bool:
    """Whether the item was changed under a transaction and the transaction was cancelled."""
    with seed_randomness(1):
        return virtual_time.run(_is_stopped(case))


async def _is_stopped(case: StaleCase) -> bool:
    cluster = ServerCluster()
    flow = FLOWS_BY_NAME[case.flow]
    on = await flow.prepare(await cluster.start())
    node: Any = cluster.add_node()
    change = ConcurrentChange(cluster, node, case, on.id)
    node.table.transact = change.transact
    try:
        await flow.run(node, on)
    except _EXPECTED_ERRORS:
        return _was_stopped(change, node)
    except ClientError:
        # Refused because the update does not fit the item, not by a condition.
        return False
    return _was_stopped(change, node)


def _was_stopped(change: ConcurrentChange, node: ServerNode) -> bool:
    return change.change_count == 1 and node.table.counts.cancelled > 0
