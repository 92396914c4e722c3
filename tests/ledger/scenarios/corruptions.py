"""A small ledger, and corruptions of it: each changes one item without the ledger."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from dispatch.wire.http.base import PaymentMethodName
from ledger.core.facts import Adjustment, AdjustmentLeg
from ledger.dynamodb.attribute_values import from_item, to_item
from ledger.dynamodb.table import Item
from ledger.reporting.audit import Audit
from ledger.reporting.checks import LedgerBreak
from tests import virtual_time
from tests.ledger.scenarios.cluster import (
    RIDER,
    TABLE,
    VENDOR,
    Response,
    ServerCluster,
    ServerNode,
)
from tests.ledger.scenarios.money_flows import order_assigned, order_delivered, order_placed
from tests.ledger.scenarios.seeded_randomness import seed_randomness

DAY_MS = 86_400_000
# Longer than an entry may need to appear in an index.
CONSISTENT_AFTER_S = 20

T = TypeVar("T")
NamedIds = dict[str, str]


class Corruption(NamedTuple):
    """A corruption: the item (keys with placeholders for ids), its change, and the broken rule."""

    name: str
    pk: str
    sk: str
    change: Callable[[Item], Item | None]
    invariant: str


def run_on_ledger(scenario: Callable[[ServerCluster, NamedIds], Awaitable[T]]) -> T:
    """Run a scenario on a ledger with one entry of every kind, on virtual time."""

    async def main() -> T:
        cluster = ServerCluster()
        return await scenario(cluster, await build_ledger(cluster))

    with seed_randomness(1):
        return virtual_time.run(main())


async def build_ledger(cluster: ServerCluster) -> NamedIds:
    """One of everything: orders paid in every way and at every stage, payouts, refunds, a debt."""
    node = await cluster.start()
    settled = (await order_delivered("WALLET")(node)).id
    await node.settlement_worker.settle(settled)
    cash = await order_delivered("CASH")(_prefixed_node(cluster, "cash"))
    await node.settlement_worker.settle(cash.id)
    await node.refund_order(settled, 1_000, "refund")
    await node.tip_rider(settled, 500, "tip")
    await node.remit_cash(2_000, "slip")
    await _post_opening(node, "VENDOR#" + VENDOR, 500_000)
    paid = await node.request_payout(60_000, "paid")
    await node.approve_payout(paid["payoutId"])
    await node.payouts.submitter.process_payout(paid["payoutId"])
    waiting = await node.request_payout(70_000, "waiting")
    cancelled = (await order_placed("WALLET")(_prefixed_node(cluster, "off"))).id
    await node.cancel_order(cancelled)
    open_order = (await order_placed("WALLET")(_prefixed_node(cluster, "open"))).id
    held = (await order_assigned("CASH")(_prefixed_node(cluster, "held"))).id
    await cluster.clock.sleep(CONSISTENT_AFTER_S)
    ids = {"settled": settled, "cash": cash.id, "off": cancelled, "open": open_order}
    return {**ids, "held": held, "paid": paid["payoutId"], "waiting": waiting["payoutId"]}


class _PrefixedNode(ServerNode):
    """A node whose customer's idempotency keys have a prefix."""

    prefix = ""

    async def place_order(
        self, method: PaymentMethodName, name: str, promo_code: str | None = None
    ) -> Response:
        return await super().place_order(method, f"{self.prefix}-{name}", promo_code)

    async def top_up(self, amount: int, name: str, provider: str = "sandbox") -> Response:
        return await super().top_up(amount, f"{self.prefix}-{name}", provider)


def _prefixed_node(cluster: ServerCluster, prefix: str) -> ServerNode:
    node = _PrefixedNode(cluster.fake, cluster.clock, cluster.provider)
    node.prefix = prefix
    return node


async def _post_opening(node: ServerNode, account: str, amount: int) -> None:
    legs = (AdjustmentLeg(account, amount), AdjustmentLeg("CLEARING#BANK.0", -amount))
    await node.ledger.post(Adjustment("opening", legs, "opening", "adm_1", "adm_2"))


async def audit_breaks(cluster: ServerCluster) -> list[LedgerBreak]:
    """The breaks that the audit finds."""
    audit = Audit(cluster.add_node().table, cluster.clock.now_ms)
    return [each async for each in audit.find_breaks()]


def corrupt(cluster: ServerCluster, ids: NamedIds, corruption: Corruption) -> Callable[[], None]:
    """Change the item; the returned function restores it."""
    table = cluster.fake.tables[TABLE]
    pk = corruption.pk.format(**ids)
    key = min(k for k in table.items if k[0] == pk and k[1].startswith(corruption.sk))
    image = table.items[key]
    after = corruption.change(from_item(image))
    table.put(key, None if after is None else to_item(after), 0)
    return lambda: table.put(key, image, 0)


def set_attributes(**values: object) -> Callable[[Item], Item]:
    return lambda item: {**item, **values}


def add_to(name: str, amount: int) -> Callable[[Item], Item]:
    return lambda item: {**item, name: item[name] + amount}


def change_leg(account: str, **changes: object) -> Callable[[Item], Item]:
    """Replace attributes of one leg."""

    def change(item: Item) -> Item:
        legs = [{**leg, **changes} if leg["account"] == account else leg for leg in item["legs"]]
        return {**item, "legs": legs}

    return change


def shift_amount(first: str, second: str, amount: int) -> Callable[[Item], Item]:
    """Move an amount from one leg to another; the entry still sums to zero."""

    def change(item: Item) -> Item:
        by = {first: amount, second: -amount}
        legs = [
            {**leg, "amount": leg["amount"] + by.get(leg["account"].partition(".")[0], 0)}
            for leg in item["legs"]
        ]
        return {**item, "legs": legs}

    return change


def delete_item(_item: Item) -> None:
    """Delete the item."""


_VENDOR, _RIDER = f"WALLET#VENDOR#{VENDOR}", f"WALLET#RIDER#{RIDER}"
_CASH, _USER = f"WALLET#RIDERCASH#{RIDER}", "WALLET#USER#usr_1"
_LINE, _SETTLED = "TXN#000000000001", "ORDER#{settled}"

CORRUPTIONS = [
    Corruption("a line is gone", _VENDOR, "TXN#000000000002", delete_item, "line_follows"),
    Corruption("the first line is gone", _VENDOR, _LINE, delete_item, "line_follows"),
    Corruption("a line's amount", _VENDOR, _LINE, add_to("amount", 1), "line_adds_up"),
    Corruption("a line's after", _RIDER, _LINE, add_to("balanceAfter", 1), "line_follows"),
    Corruption("a line's before", _RIDER, _LINE, add_to("balanceBefore", 1), "line_adds_up"),
    Corruption("a line's category", _RIDER, _LINE, set_attributes(category="TIP"), "line_hash"),
    Corruption(
        "a line's entry", _RIDER, _LINE, set_attributes(entry="ORDER#x/JE#SETTLE"), "line_hash"
    ),
    Corruption(
        "a line's chain", _USER, "TXN#000000000002", set_attributes(prev="0" * 64), "line_hash"
    ),
    Corruption("a line's moment", _USER, _LINE, add_to("createdAt", -1), "line_hash"),
    Corruption("a balance", _VENDOR, "BALANCE", add_to("posted", 5), "balance_is_last_line"),
    Corruption("what may be spent", _USER, "BALANCE", add_to("available", 1), "balance_available"),
    Corruption("what is held", _VENDOR, "BALANCE", add_to("held", -1), "held_is_open_holds"),
    Corruption("held cash", _CASH, "BALANCE", add_to("held", 1), "held_is_open_holds"),
    Corruption("a line too many", _VENDOR, "BALANCE", add_to("seq", -1), "line_follows"),
    Corruption(
        "the last line's hash",
        _RIDER,
        "BALANCE",
        set_attributes(head="f" * 64),
        "balance_is_last_line",
    ),
    Corruption(
        "an entry's sum",
        _SETTLED,
        "JE#SETTLE",
        change_leg(f"RIDER#{RIDER}", amount=1),
        "entry_balances",
    ),
    Corruption(
        "an entry's parts",
        _SETTLED,
        "JE#SETTLE",
        shift_amount(f"VENDOR#{VENDOR}", f"RIDER#{RIDER}", 7),
        "entry_as_planned",
    ),
    Corruption(
        "an entry's line",
        _SETTLED,
        "JE#SETTLE",
        change_leg(f"RIDER#{RIDER}", seq=9),
        "entry_has_its_lines",
    ),
    Corruption("an entry is gone", _SETTLED, "JE#TIP", delete_item, "entry_has_its_lines"),
    Corruption("an escrow", "ORDER#{open}", "FUNDS", add_to("escrow", 3), "escrow"),
    Corruption("a settled escrow", _SETTLED, "FUNDS", set_attributes(escrow=9), "escrow"),
    Corruption("what went back", _SETTLED, "FUNDS", add_to("refunded", -1), "refunds"),
    Corruption(
        "an account shard",
        "WALLET#CLEARING#BANK.0",
        "BALANCE",
        add_to("posted", 1),
        "account_shards",
    ),
    Corruption("a hold is gone", "ORDER#{held}", "HOLD#CASH", delete_item, "held_is_open_holds"),
    Corruption(
        "a payout",
        "PAYOUT#{paid}",
        "REQUEST",
        set_attributes(payoutState="SUBMITTED"),
        "payout_state",
    ),
    Corruption("a payment of it", "PAYOUT#{paid}", "JE#PAID", delete_item, "entry_has_its_lines"),
]
