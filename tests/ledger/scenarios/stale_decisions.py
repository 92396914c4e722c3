"""Ground that moves under a write: one attribute of one item, between the reading and the write.

Some of it can happen, some only by a fault elsewhere; the write must be stopped all the same.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from dispatch.errors import Refused, StoreUnavailable
from ledger.dynamodb.attribute_values import from_item, to_item
from ledger.dynamodb.table import Item, Key, TableUnavailable, Write
from ledger.posting.ledger import LedgerRefused
from ledger.posting.transaction import _key_of
from tests import virtual_time
from tests.ledger.scenarios.flows import FLOWS
from tests.ledger.scenarios.random_choices import seeded
from tests.ledger.scenarios.shop import TABLE, Node, Shop

# From the item and the order's id.
Change = Callable[[Item, str], Item | None]
BY_NAME = {flow.name: flow for flow in FLOWS}
WALLET: Item = {
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
_REFUSALS = (
    Refused,
    StoreUnavailable,
    TableUnavailable,
    LedgerRefused,
    AssertionError,
    ValueError,
)


class Ground(NamedTuple):
    """In a flow, the item whose keys begin so, and what becomes of it."""

    flow: str
    pk: str
    sk: str
    change: Change


def there(**attributes: object) -> Change:
    """The item has come to be there."""
    return lambda item, _on: {**item, **attributes}


def wallet(**attributes: object) -> Change:
    """The account has come to have a wallet."""

    def change(item: Item, _on: str) -> Item:
        account = item["PK"].removeprefix("WALLET#")
        return {**item, **WALLET, "account": account, **attributes}

    return change


def without(prefix: str) -> Change:
    """Attributes are gone."""
    return lambda item, _on: {k: v for k, v in item.items() if not k.startswith(prefix)}


def gone(_item: Item, _on: str) -> None:
    """The item is no longer there."""


def carried_already(item: Item, on: str) -> Item:
    """The rider carries this very order, as far as his item says; his hands count as empty."""
    return {**item, "cnt": 0, f"carries_{on}": 1}


def in_offer(**attributes: object) -> Change:
    """The offer that the rider takes is another by now."""

    def change(item: Item, _on: str) -> Item:
        ((rider, offer),) = item["dispatch"]["offers"].items()
        offers = {rider: {**offer, **attributes}}
        return {**item, "dispatch": {**item["dispatch"], "offers": offers}}

    return change


def of_another_rider(item: Item, _on: str) -> Item:
    return {**item, "dispatch": {**item["dispatch"], "riderId": "rdr_9"}}


GROUNDS = [
    # What must not be there yet.
    Ground("place_from_wallet", "ORDER", "FIN", there(finState="CAPTURED")),
    Ground("place_for_cash", "ORDER", "FIN", there(finState="CAPTURED")),
    Ground("take_cash_order", "ORDER", "HOLD", there(hstate="OPEN")),
    Ground("take_cash_order", "ORDER", "HOLD", there(hstate="POSTED")),
    Ground("call_off_paid", "ORDER", "JE#CANCEL", there(intent="x")),
    Ground("place_from_wallet", "ORDER", "JE#CAPTURE", there(intent="x")),
    Ground("settle_cash", "ORDER", "JE#SETTLE", there(intent="x")),
    Ground("top_up", "PAYMENT", "JE#TOPUP", there(intent="x")),
    Ground("place_for_cash", "ORDER", "METADATA", there(version=9)),
    Ground("call_off_paid", "OUTBOX", "ENTRY", there(planted=True)),
    Ground("ask_top_up", "PAYMENT", "PAYMENT", there(pstate="SUCCESS")),
    Ground("call_off_paid", "RECEIPT", "RECEIPT", there(bodyHash="x")),
    Ground("top_up", "WALLET#CLEARING", "BALANCE", wallet()),
    Ground("settle_cash", "WALLET#PLATFORM", "BALANCE", wallet()),
    Ground("settle_cash", "WALLET#RIDER#", "BALANCE", wallet()),
    Ground("settle_cash", "WALLET#VENDOR", "BALANCE", wallet()),
    Ground("top_up", "WALLET#USER", "BALANCE", wallet()),
    Ground("settle_cash", "WALLET#RIDER#", "TXN", there(planted=True)),
    Ground("settle_cash", "WALLET#RIDERCASH", "TXN", there(planted=True)),
    Ground("settle_cash", "WALLET#VENDOR", "TXN", there(planted=True)),
    Ground("top_up", "WALLET#USER", "TXN", there(planted=True)),
    # The order's money.
    Ground("call_off_paid", "ORDER", "FIN", there(finState="DELIVERED")),
    Ground("call_off_paid", "ORDER", "FIN", there(escrow=1)),
    Ground("call_off_paid", "ORDER", "FIN", there(terms="x")),
    Ground("settle_from_wallet", "ORDER", "FIN", there(finState="CAPTURED")),
    Ground("settle_from_wallet", "ORDER", "FIN", there(escrow=1)),
    Ground("settle_from_wallet", "ORDER", "FIN", there(terms="x")),
    Ground("settle_from_wallet", "ORDER", "FIN", there(riderId="rdr_9")),
    Ground("hear_of_payment", "ORDER", "FIN", there(finState="VOID")),
    Ground("hear_of_payment", "ORDER", "FIN", there(terms="x")),
    Ground("bring_and_settle", "ORDER", "FIN", there(finState="VOID")),
    Ground("call_off_unpaid", "ORDER", "FIN", there(finState="CAPTURED")),
    # The hold on a rider's cash.
    Ground("give_back_cash_order", "ORDER", "HOLD", there(hstate="RELEASED")),
    Ground("give_back_cash_order", "ORDER", "HOLD", there(riderId="rdr_9")),
    Ground("give_back_cash_order", "ORDER", "HOLD", there(amount=1)),
    Ground("settle_cash", "ORDER", "HOLD", there(hstate="RELEASED")),
    # The order.
    Ground("settle_from_wallet", "ORDER", "METADATA", there(version=99)),
    Ground("take_cash_order", "ORDER", "METADATA", there(version=99)),
    Ground("take_cash_order", "ORDER", "METADATA", in_offer(offerId="ofr_9")),
    Ground("take_cash_order", "ORDER", "METADATA", in_offer(deadlineMs=0)),
    Ground("give_back_cash_order", "ORDER", "METADATA", there(version=99)),
    Ground("give_back_cash_order", "ORDER", "METADATA", of_another_rider),
    Ground("call_off_paid", "ORDER", "METADATA", there(version=99)),
    Ground("call_off_paid", "ORDER", "METADATA", there(userId="usr_9")),
    Ground("reject_paid", "ORDER", "METADATA", there(version=99)),
    Ground("reject_paid", "ORDER", "METADATA", there(vendorId="ven_9")),
    # A payment.
    Ground("hear_of_top_up", "PAYMENT", "PAYMENT", there(pstate="SUCCESS")),
    Ground("hear_of_top_up", "PAYMENT", "PAYMENT", there(userId="usr_9")),
    Ground("hear_of_top_up", "PAYMENT", "PAYMENT", there(amount=1)),
    Ground("hear_of_payment", "PAYMENT", "PAYMENT", there(pstate="SUCCESS")),
    Ground("hear_of_payment", "PAYMENT", "PAYMENT", there(userId="usr_9")),
    Ground("hear_of_payment", "PAYMENT", "PAYMENT", there(amount=1)),
    Ground("hear_of_payment", "PAYMENT", "PAYMENT", there(orderId="ord_9")),
    Ground("hear_of_failure", "PAYMENT", "PAYMENT", there(pstate="SUCCESS")),
    # The rider's hands, and the shelf.
    Ground("give_back_cash_order", "RIDER", "DUTY", without("carries_")),
    Ground("offer_cash_order", "RIDER", "DUTY", there(cnt=1)),
    Ground("take_cash_order", "RIDER", "DUTY", there(cnt=1)),
    Ground("take_cash_order", "RIDER", "DUTY", carried_already),
    Ground("place_from_wallet", "VENDOR", "ITEM", there(stock=0)),
    Ground("call_off_paid", "VENDOR", "ITEM", without("stock")),
    # A promotion, and its customer's turn.
    Ground("make_promotion", "PROMO", "PROMOTION", there(amount=1)),
    Ground("make_promotion", "AUDIT", "", there(planted=True)),
    Ground("place_with_promo", "PROMO", "PROMOTION", there(promoState="STOPPED")),
    Ground("place_with_promo", "PROMO", "PROMOTION", there(endsAt=0)),
    Ground("place_with_promo", "PROMO", "PROMOTION", there(spent=2_001)),
    Ground("place_with_promo", "PROMO", "USER", there(used=1)),
    Ground("call_off_with_promo", "PROMO", "PROMOTION", there(spent=999)),
    Ground("call_off_with_promo", "PROMO", "USER", there(used=0)),
    # Wallets.
    Ground("take_cash_order", "WALLET#RIDERCASH", "BALANCE", wallet(exposure=50_000)),
    Ground(
        "take_cash_order",
        "WALLET#RIDERCASH",
        "BALANCE",
        wallet(exposure=0, status="FROZEN"),
    ),
    Ground("give_back_cash_order", "WALLET#RIDERCASH", "BALANCE", there(held=0)),
    Ground("settle_cash", "WALLET#RIDERCASH", "BALANCE", there(seq=9)),
    Ground("settle_cash", "WALLET#RIDERCASH", "BALANCE", there(held=0)),
    Ground("call_off_paid", "WALLET#USER", "BALANCE", there(seq=9)),
    Ground("place_from_wallet", "WALLET#USER", "BALANCE", there(seq=9)),
    Ground("place_from_wallet", "WALLET#USER", "BALANCE", there(available=0)),
    Ground("place_from_wallet", "WALLET#USER", "BALANCE", there(status="FROZEN")),
    Ground("settle_second", "WALLET#VENDOR", "BALANCE", there(seq=9)),
    Ground("settle_second", "WALLET#RIDER#", "BALANCE", there(seq=9)),
    Ground("settle_second", "WALLET#PLATFORM", "BALANCE", gone),
    Ground("top_up_again", "WALLET#CLEARING", "BALANCE", gone),
    # Refunds, tips, cash handed in, corrections.
    Ground("refund_part", "ORDER", "JE#REFUND", there(intent="x")),
    Ground("refund_part", "ORDER", "FIN", there(finState="CANCELLED")),
    Ground("refund_part", "ORDER", "FIN", there(refunded=1)),
    Ground("refund_part", "ORDER", "FIN", there(shared=1)),
    Ground("refund_part", "WALLET#VENDOR", "BALANCE", there(seq=9)),
    Ground("refund_part", "WALLET#VENDOR", "BALANCE", there(available=0)),
    Ground("refund_part", "WALLET#VENDOR", "BALANCE", there(status="FROZEN")),
    Ground("refund_part", "WALLET#RIDER#", "BALANCE", there(available=0)),
    Ground("refund_part", "WALLET#RIDER#", "BALANCE", there(status="FROZEN")),
    Ground("propose_correction", "ADJ", "REQUEST", there(astate="POSTED")),
    Ground("tip_later", "ORDER", "JE#TIP", there(intent="x")),
    Ground("hand_cash_in", "REMIT", "JE#REMIT", there(intent="x")),
    Ground("hand_cash_in", "WALLET#RIDERCASH", "BALANCE", there(seq=9)),
    Ground("hand_cash_in", "WALLET#RIDERCASH", "BALANCE", there(posted=0)),
    Ground("agree_to_correction", "ADJ", "JE#ADJUST", there(intent="x")),
    Ground("agree_to_correction", "ADJ", "REQUEST", there(astate="REJECTED")),
    Ground("agree_to_correction", "ADJ", "REQUEST", there(maker="adm_2")),
    # Payouts.
    Ground("pay_out", "CONFIG", "PAYOUTS", there(stopped=True)),
    Ground("ask_payout", "PAYOUT", "REQUEST", there(pstate="PAID")),
    Ground("ask_payout", "WALLET#VENDOR", "BALANCE", there(available=0)),
    Ground("ask_payout", "WALLET#VENDOR", "BALANCE", there(status="FROZEN")),
    Ground("ask_payout_of_rider", "WALLET#RIDER#", "BALANCE", there(available=0)),
    Ground("ask_payout_of_rider", "WALLET#RIDER#", "BALANCE", there(status="FROZEN")),
    Ground(
        "ask_payout_of_rider",
        "WALLET#RIDERCASH",
        "BALANCE",
        there(**{**WALLET, "posted": -5, "exposure": 5}),
    ),
    Ground("ask_payout_with_cash", "PAYOUT", "JE#NET", there(intent="x")),
    Ground("ask_payout_with_cash", "WALLET#RIDER#", "BALANCE", there(seq=9)),
    Ground("ask_payout_with_cash", "WALLET#RIDER#", "BALANCE", there(available=0)),
    Ground("ask_payout_with_cash", "WALLET#RIDER#", "BALANCE", there(status="FROZEN")),
    Ground("pay_out", "PAYOUT", "REQUEST", there(pstate="REJECTED")),
    Ground("pay_out", "PAYOUT", "REQUEST", there(requestedBy="adm_1")),
    Ground("reject_payout", "PAYOUT", "REQUEST", there(pstate="APPROVED")),
    Ground("reject_payout", "WALLET#VENDOR", "BALANCE", there(held=0)),
    Ground("hear_of_payout", "PAYOUT", "JE#PAID", there(intent="x")),
    Ground("hear_of_payout", "PAYOUT", "REQUEST", there(pstate="FAILED")),
    Ground("hear_of_payout", "PAYOUT", "REQUEST", there(amount=1)),
    Ground("hear_of_payout", "PAYOUT", "REQUEST", there(ownerId="ven_9")),
    Ground("hear_of_payout", "PAYOUT", "REQUEST", there(ownerType="RIDER")),
    Ground("hear_of_payout", "WALLET#VENDOR", "BALANCE", there(held=0)),
    Ground("hear_of_payout", "WALLET#VENDOR", "BALANCE", there(seq=9)),
]


class Mover:
    """Changes the item as soon as a transaction is about to write it, once."""

    def __init__(self, shop: Shop, node: Node, ground: Ground, on: str) -> None:
        self._on = on
        self._shop = shop
        self._ground = ground
        self._send = node.table.transact
        self.moved = 0

    async def transact(self, writes: Sequence[Write], token: str | None = None) -> None:
        keys = [key for key in map(_key_of, writes) if self._is_meant(key)]
        for key in keys[: 1 - self.moved]:
            self._move(key)
        await self._send(writes, token)

    def _is_meant(self, key: Key) -> bool:
        return key.pk.startswith(self._ground.pk) and key.sk.startswith(self._ground.sk)

    def _move(self, key: Key) -> None:
        shelves = self._shop.fake.tables[TABLE]
        image = shelves.get(key)
        item = from_item(image) if image else {"PK": key.pk, "SK": key.sk}
        after = self._ground.change(item, self._on)
        shelves.put((key.pk, key.sk), None if after is None else to_item(after), 0)
        self.moved = 1


def is_stopped(ground: Ground) -> bool:
    """Whether the ground moved under a transaction and the transaction was stopped for it."""
    with seeded(1):
        return virtual_time.run(_is_stopped(ground))


async def _is_stopped(ground: Ground) -> bool:
    shop = Shop()
    flow = BY_NAME[ground.flow]
    on = await flow.before(await shop.open())
    node: Any = shop.node()
    mover = Mover(shop, node, ground, on.id)
    node.table.transact = mover.transact
    try:
        await flow.act(node, on)
    except _REFUSALS:
        return _was_stopped(mover, node)
    except ClientError:
        # Stopped by an update that did not fit any more, and not by a condition.
        return False
    return _was_stopped(mover, node)


def _was_stopped(mover: Mover, node: Node) -> bool:
    return mover.moved == 1 and node.table.counts.cancelled > 0
