"""Ground that moves under a write: one attribute of one item, between the reading and the write.

Some of it can happen, some only by a fault elsewhere; the write must be stopped all the same.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from dispatch.errors import Refused, StoreUnavailable
from ledger.dynamodb.attribute_values import from_item, to_item
from ledger.dynamodb.table import Item, Key, TableUnavailable, Write, key_of
from ledger.posting.errors import LedgerRefused
from tests import virtual_time
from tests.ledger.scenarios.cluster import TABLE, ServerCluster, ServerNode
from tests.ledger.scenarios.money_flows import FLOWS
from tests.ledger.scenarios.seeded_randomness import seed_randomness

# From the item and the order's id.
Change = Callable[[Item, str], Item | None]
FLOWS_BY_NAME = {flow.name: flow for flow in FLOWS}
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


# How a flow may end whose ground has moved for good.
_EXPECTED_ERRORS = (
    Refused,
    StoreUnavailable,
    TableUnavailable,
    LedgerRefused,
    AssertionError,
    ValueError,
)


class StaleCase(NamedTuple):
    """In a flow, the item whose keys begin so, and what becomes of it."""

    flow: str
    pk: str
    sk: str
    change: Change


def with_attributes(**attributes: object) -> Change:
    """The item has come to be there."""
    return lambda item, _on: {**item, **attributes}


def with_wallet(**attributes: object) -> Change:
    """The account has come to have a wallet."""

    def change(item: Item, _on: str) -> Item:
        account = item["PK"].removeprefix("WALLET#")
        return {**item, **EMPTY_WALLET, "account": account, **attributes}

    return change


def without_prefix(prefix: str) -> Change:
    """Attributes are gone."""
    return lambda item, _on: {k: v for k, v in item.items() if not k.startswith(prefix)}


def deleted(_item: Item, _on: str) -> None:
    """The item is no longer there."""


def already_carried(item: Item, on: str) -> Item:
    """The rider carries this very order, as far as his item says; his hands count as empty."""
    return {**item, "orderCount": 0, f"carries_{on}": 1}


def with_offer(**attributes: object) -> Change:
    """The offer that the rider takes is another by now."""

    def change(item: Item, _on: str) -> Item:
        ((rider, offer),) = item["dispatch"]["offers"].items()
        offers = {rider: {**offer, **attributes}}
        return {**item, "dispatch": {**item["dispatch"], "offers": offers}}

    return change


def with_another_rider(item: Item, _on: str) -> Item:
    return {**item, "dispatch": {**item["dispatch"], "riderId": "rdr_9"}}


STALE_CASES = [
    # What must not be there yet.
    StaleCase("place_from_wallet", "ORDER", "FUNDS", with_attributes(fundsState="CAPTURED")),
    StaleCase("place_for_cash", "ORDER", "FUNDS", with_attributes(fundsState="CAPTURED")),
    StaleCase("take_cash_order", "ORDER", "HOLD", with_attributes(holdState="OPEN")),
    StaleCase("take_cash_order", "ORDER", "HOLD", with_attributes(holdState="POSTED")),
    StaleCase("call_off_paid", "ORDER", "JE#CANCEL", with_attributes(factHash="x")),
    StaleCase("place_from_wallet", "ORDER", "JE#CAPTURE", with_attributes(factHash="x")),
    StaleCase("settle_cash", "ORDER", "JE#SETTLE", with_attributes(factHash="x")),
    StaleCase("top_up", "PAYMENT", "JE#TOPUP", with_attributes(factHash="x")),
    StaleCase("place_for_cash", "ORDER", "METADATA", with_attributes(version=9)),
    StaleCase("call_off_paid", "OUTBOX", "ENTRY", with_attributes(planted=True)),
    StaleCase("ask_top_up", "PAYMENT", "PAYMENT", with_attributes(paymentState="SUCCESS")),
    StaleCase("call_off_paid", "IDEMPOTENCY", "RECORD", with_attributes(bodyHash="x")),
    StaleCase("top_up", "WALLET#CLEARING", "BALANCE", with_wallet()),
    StaleCase("settle_cash", "WALLET#PLATFORM", "BALANCE", with_wallet()),
    StaleCase("settle_cash", "WALLET#RIDER#", "BALANCE", with_wallet()),
    StaleCase("settle_cash", "WALLET#VENDOR", "BALANCE", with_wallet()),
    StaleCase("top_up", "WALLET#USER", "BALANCE", with_wallet()),
    StaleCase("settle_cash", "WALLET#RIDER#", "TXN", with_attributes(planted=True)),
    StaleCase("settle_cash", "WALLET#RIDERCASH", "TXN", with_attributes(planted=True)),
    StaleCase("settle_cash", "WALLET#VENDOR", "TXN", with_attributes(planted=True)),
    StaleCase("top_up", "WALLET#USER", "TXN", with_attributes(planted=True)),
    # The order's money.
    StaleCase("call_off_paid", "ORDER", "FUNDS", with_attributes(fundsState="DELIVERED")),
    StaleCase("call_off_paid", "ORDER", "FUNDS", with_attributes(escrow=1)),
    StaleCase("call_off_paid", "ORDER", "FUNDS", with_attributes(termsHash="x")),
    StaleCase("settle_from_wallet", "ORDER", "FUNDS", with_attributes(fundsState="CAPTURED")),
    StaleCase("settle_from_wallet", "ORDER", "FUNDS", with_attributes(escrow=1)),
    StaleCase("settle_from_wallet", "ORDER", "FUNDS", with_attributes(termsHash="x")),
    StaleCase("settle_from_wallet", "ORDER", "FUNDS", with_attributes(riderId="rdr_9")),
    StaleCase("hear_of_payment", "ORDER", "FUNDS", with_attributes(fundsState="VOID")),
    StaleCase("hear_of_payment", "ORDER", "FUNDS", with_attributes(termsHash="x")),
    StaleCase("bring_and_settle", "ORDER", "FUNDS", with_attributes(fundsState="VOID")),
    StaleCase("call_off_unpaid", "ORDER", "FUNDS", with_attributes(fundsState="CAPTURED")),
    # The hold on a rider's cash.
    StaleCase("give_back_cash_order", "ORDER", "HOLD", with_attributes(holdState="RELEASED")),
    StaleCase("give_back_cash_order", "ORDER", "HOLD", with_attributes(riderId="rdr_9")),
    StaleCase("give_back_cash_order", "ORDER", "HOLD", with_attributes(amount=1)),
    StaleCase("settle_cash", "ORDER", "HOLD", with_attributes(holdState="RELEASED")),
    # The order.
    StaleCase("settle_from_wallet", "ORDER", "METADATA", with_attributes(version=99)),
    StaleCase("take_cash_order", "ORDER", "METADATA", with_attributes(version=99)),
    StaleCase("take_cash_order", "ORDER", "METADATA", with_offer(offerId="ofr_9")),
    StaleCase("take_cash_order", "ORDER", "METADATA", with_offer(deadlineMs=0)),
    StaleCase("give_back_cash_order", "ORDER", "METADATA", with_attributes(version=99)),
    StaleCase("give_back_cash_order", "ORDER", "METADATA", with_another_rider),
    StaleCase("call_off_paid", "ORDER", "METADATA", with_attributes(version=99)),
    StaleCase("call_off_paid", "ORDER", "METADATA", with_attributes(userId="usr_9")),
    StaleCase("reject_paid", "ORDER", "METADATA", with_attributes(version=99)),
    StaleCase("reject_paid", "ORDER", "METADATA", with_attributes(vendorId="ven_9")),
    # A payment.
    StaleCase("hear_of_top_up", "PAYMENT", "PAYMENT", with_attributes(paymentState="SUCCESS")),
    StaleCase("hear_of_top_up", "PAYMENT", "PAYMENT", with_attributes(userId="usr_9")),
    StaleCase("hear_of_top_up", "PAYMENT", "PAYMENT", with_attributes(amount=1)),
    StaleCase("hear_of_payment", "PAYMENT", "PAYMENT", with_attributes(paymentState="SUCCESS")),
    StaleCase("hear_of_payment", "PAYMENT", "PAYMENT", with_attributes(userId="usr_9")),
    StaleCase("hear_of_payment", "PAYMENT", "PAYMENT", with_attributes(amount=1)),
    StaleCase("hear_of_payment", "PAYMENT", "PAYMENT", with_attributes(orderId="ord_9")),
    StaleCase("hear_of_failure", "PAYMENT", "PAYMENT", with_attributes(paymentState="SUCCESS")),
    # The rider's hands, and the shelf.
    StaleCase("give_back_cash_order", "RIDER", "WORKLOAD", without_prefix("carries_")),
    StaleCase("offer_cash_order", "RIDER", "WORKLOAD", with_attributes(orderCount=1)),
    StaleCase("take_cash_order", "RIDER", "WORKLOAD", with_attributes(orderCount=1)),
    StaleCase("take_cash_order", "RIDER", "WORKLOAD", already_carried),
    StaleCase("place_from_wallet", "VENDOR", "ITEM", with_attributes(stock=0)),
    StaleCase("call_off_paid", "VENDOR", "ITEM", without_prefix("stock")),
    # A promotion, and its customer's turn.
    StaleCase("make_promotion", "PROMOTION", "PROMOTION", with_attributes(amount=1)),
    StaleCase("make_promotion", "AUDIT", "", with_attributes(planted=True)),
    StaleCase("place_with_promo", "PROMOTION", "PROMOTION", with_attributes(promoState="STOPPED")),
    StaleCase("place_with_promo", "PROMOTION", "PROMOTION", with_attributes(endsAt=0)),
    StaleCase("place_with_promo", "PROMOTION", "PROMOTION", with_attributes(spent=2_001)),
    StaleCase("place_with_promo", "PROMOTION", "USER", with_attributes(used=1)),
    StaleCase("call_off_with_promo", "PROMOTION", "PROMOTION", with_attributes(spent=999)),
    StaleCase("call_off_with_promo", "PROMOTION", "USER", with_attributes(used=0)),
    # Wallets.
    StaleCase("take_cash_order", "WALLET#RIDERCASH", "BALANCE", with_wallet(exposure=50_000)),
    StaleCase(
        "take_cash_order",
        "WALLET#RIDERCASH",
        "BALANCE",
        with_wallet(exposure=0, status="FROZEN"),
    ),
    StaleCase("give_back_cash_order", "WALLET#RIDERCASH", "BALANCE", with_attributes(held=0)),
    StaleCase("settle_cash", "WALLET#RIDERCASH", "BALANCE", with_attributes(seq=9)),
    StaleCase("settle_cash", "WALLET#RIDERCASH", "BALANCE", with_attributes(held=0)),
    StaleCase("call_off_paid", "WALLET#USER", "BALANCE", with_attributes(seq=9)),
    StaleCase("place_from_wallet", "WALLET#USER", "BALANCE", with_attributes(seq=9)),
    StaleCase("place_from_wallet", "WALLET#USER", "BALANCE", with_attributes(available=0)),
    StaleCase("place_from_wallet", "WALLET#USER", "BALANCE", with_attributes(status="FROZEN")),
    StaleCase("settle_second", "WALLET#VENDOR", "BALANCE", with_attributes(seq=9)),
    StaleCase("settle_second", "WALLET#RIDER#", "BALANCE", with_attributes(seq=9)),
    StaleCase("settle_second", "WALLET#PLATFORM", "BALANCE", deleted),
    StaleCase("top_up_again", "WALLET#CLEARING", "BALANCE", deleted),
    # Refunds, tips, cash handed in, corrections.
    StaleCase("refund_part", "ORDER", "JE#REFUND", with_attributes(factHash="x")),
    StaleCase("refund_part", "ORDER", "FUNDS", with_attributes(fundsState="CANCELLED")),
    StaleCase("refund_part", "ORDER", "FUNDS", with_attributes(refunded=1)),
    StaleCase("refund_part", "ORDER", "FUNDS", with_attributes(shared=1)),
    StaleCase("refund_part", "WALLET#VENDOR", "BALANCE", with_attributes(seq=9)),
    StaleCase("refund_part", "WALLET#VENDOR", "BALANCE", with_attributes(available=0)),
    StaleCase("refund_part", "WALLET#VENDOR", "BALANCE", with_attributes(status="FROZEN")),
    StaleCase("refund_part", "WALLET#RIDER#", "BALANCE", with_attributes(available=0)),
    StaleCase("refund_part", "WALLET#RIDER#", "BALANCE", with_attributes(status="FROZEN")),
    StaleCase(
        "propose_correction", "ADJUSTMENT", "REQUEST", with_attributes(adjustmentState="POSTED")
    ),
    StaleCase("tip_later", "ORDER", "JE#TIP", with_attributes(factHash="x")),
    StaleCase("hand_cash_in", "REMITTANCE", "JE#REMIT", with_attributes(factHash="x")),
    StaleCase("hand_cash_in", "WALLET#RIDERCASH", "BALANCE", with_attributes(seq=9)),
    StaleCase("hand_cash_in", "WALLET#RIDERCASH", "BALANCE", with_attributes(posted=0)),
    StaleCase("agree_to_correction", "ADJUSTMENT", "JE#ADJUST", with_attributes(factHash="x")),
    StaleCase(
        "agree_to_correction", "ADJUSTMENT", "REQUEST", with_attributes(adjustmentState="REJECTED")
    ),
    StaleCase("agree_to_correction", "ADJUSTMENT", "REQUEST", with_attributes(maker="adm_2")),
    # Payouts.
    StaleCase("pay_out", "CONFIG", "PAYOUTS", with_attributes(stopped=True)),
    StaleCase("ask_payout", "PAYOUT", "REQUEST", with_attributes(payoutState="PAID")),
    StaleCase("ask_payout", "WALLET#VENDOR", "BALANCE", with_attributes(available=0)),
    StaleCase("ask_payout", "WALLET#VENDOR", "BALANCE", with_attributes(status="FROZEN")),
    StaleCase("ask_payout_of_rider", "WALLET#RIDER#", "BALANCE", with_attributes(available=0)),
    StaleCase("ask_payout_of_rider", "WALLET#RIDER#", "BALANCE", with_attributes(status="FROZEN")),
    StaleCase(
        "ask_payout_of_rider",
        "WALLET#RIDERCASH",
        "BALANCE",
        with_attributes(**{**EMPTY_WALLET, "posted": -5, "exposure": 5}),
    ),
    StaleCase("ask_payout_with_cash", "PAYOUT", "JE#NET", with_attributes(factHash="x")),
    StaleCase("ask_payout_with_cash", "WALLET#RIDER#", "BALANCE", with_attributes(seq=9)),
    StaleCase("ask_payout_with_cash", "WALLET#RIDER#", "BALANCE", with_attributes(available=0)),
    StaleCase("ask_payout_with_cash", "WALLET#RIDER#", "BALANCE", with_attributes(status="FROZEN")),
    StaleCase("pay_out", "PAYOUT", "REQUEST", with_attributes(payoutState="REJECTED")),
    StaleCase("pay_out", "PAYOUT", "REQUEST", with_attributes(requestedBy="adm_1")),
    StaleCase("reject_payout", "PAYOUT", "REQUEST", with_attributes(payoutState="APPROVED")),
    StaleCase("reject_payout", "WALLET#VENDOR", "BALANCE", with_attributes(held=0)),
    StaleCase("hear_of_payout", "PAYOUT", "JE#PAID", with_attributes(factHash="x")),
    StaleCase("hear_of_payout", "PAYOUT", "REQUEST", with_attributes(payoutState="FAILED")),
    StaleCase("hear_of_payout", "PAYOUT", "REQUEST", with_attributes(amount=1)),
    StaleCase("hear_of_payout", "PAYOUT", "REQUEST", with_attributes(ownerId="ven_9")),
    StaleCase("hear_of_payout", "PAYOUT", "REQUEST", with_attributes(ownerType="RIDER")),
    StaleCase("hear_of_payout", "WALLET#VENDOR", "BALANCE", with_attributes(held=0)),
    StaleCase("hear_of_payout", "WALLET#VENDOR", "BALANCE", with_attributes(seq=9)),
]


class ConcurrentChange:
    """Changes the item as soon as a transaction is about to write it, once."""

    def __init__(
        self, shop: ServerCluster, node: ServerNode, case: StaleCase, order_id: str
    ) -> None:
        self._order_id = order_id
        self._shop = shop
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
        shelves = self._shop.fake.tables[TABLE]
        image = shelves.get(key)
        item = from_item(image) if image else {"PK": key.pk, "SK": key.sk}
        after = self._case.change(item, self._order_id)
        shelves.put((key.pk, key.sk), None if after is None else to_item(after), 0)
        self.change_count = 1


def is_stopped(case: StaleCase) -> bool:
    """Whether the ground moved under a transaction and the transaction was stopped for it."""
    with seed_randomness(1):
        return virtual_time.run(_is_stopped(case))


async def _is_stopped(case: StaleCase) -> bool:
    shop = ServerCluster()
    flow = FLOWS_BY_NAME[case.flow]
    on = await flow.prepare(await shop.start())
    node: Any = shop.add_node()
    mover = ConcurrentChange(shop, node, case, on.id)
    node.table.transact = mover.transact
    try:
        await flow.run(node, on)
    except _EXPECTED_ERRORS:
        return _was_stopped(mover, node)
    except ClientError:
        # Stopped by an update that did not fit any more, and not by a condition.
        return False
    return _was_stopped(mover, node)


def _was_stopped(mover: ConcurrentChange, node: ServerNode) -> bool:
    return mover.change_count == 1 and node.table.counts.cancelled > 0
