"""Books of a small town, and ways to spoil them: each changes one item behind the ledger's back."""

from collections.abc import Callable
from typing import NamedTuple

from dispatch.wire.http import requests
from ledger.core.facts import Adjustment, Correction
from ledger.dynamodb.attribute_values import from_item, to_item
from ledger.dynamodb.table import Item
from ledger.reporting.audit import Audit
from ledger.reporting.checks import Break
from tests.ledger.scenarios.flows import brought, placed, taken
from tests.ledger.scenarios.shop import (
    RIDER,
    TABLE,
    VENDOR,
    Answer,
    Node,
    Shop,
)

DAY_MS = 86_400_000
# Longer than an entry may still be on its way into an index.
SETTLED_S = 20

Places = dict[str, str]


class Corruption(NamedTuple):
    """What is spoiled (keys with the town's names), how, and the rule that names it."""

    name: str
    pk: str
    sk: str
    change: Callable[[Item], Item | None]
    rule: str


async def build_town(shop: Shop) -> Places:
    """One of everything: orders paid in every way and at every stage, payouts, refunds, a debt."""
    node = await shop.open()
    settled = (await brought("WALLET")(node)).id
    await node.settler.settle(settled)
    cash = await brought("CASH")(_again(shop, "cash"))
    await node.settler.settle(cash.id)
    await node.refund(settled, 1_000, "refund")
    await node.tip(settled, 500, "tip")
    await node.remit(2_000, "slip")
    await _opening(node, "VENDOR#" + VENDOR, 500_000)
    paid = await node.draw(60_000, "paid")
    await node.approve(paid["payoutId"])
    await node.payer.carry_out(paid["payoutId"])
    waiting = await node.draw(70_000, "waiting")
    called_off = (await placed("WALLET")(_again(shop, "off"))).id
    await node.call_off(called_off)
    open_order = (await placed("WALLET")(_again(shop, "open"))).id
    held = (await taken("CASH")(_again(shop, "held"))).id
    await shop.clock.sleep(SETTLED_S)
    places = {"settled": settled, "cash": cash.id, "off": called_off, "open": open_order}
    return {**places, "held": held, "paid": paid["payoutId"], "waiting": waiting["payoutId"]}


class _Again(Node):
    """A node whose customer asks under names of one story."""

    story = ""

    async def place(
        self, method: requests.Method, name: str, promo_code: str | None = None
    ) -> Answer:
        return await super().place(method, f"{self.story}-{name}", promo_code)

    async def top_up(self, amount: int, name: str, provider: str = "sandbox") -> Answer:
        return await super().top_up(amount, f"{self.story}-{name}", provider)


def _again(shop: Shop, story: str) -> Node:
    node = _Again(shop.fake, shop.clock, shop.provider)
    node.story = story
    return node


async def _opening(node: Node, account: str, amount: int) -> None:
    legs = (Correction(account, amount), Correction("CLEARING#BANK.0", -amount))
    await node.ledger.post(Adjustment("opening", legs, "opening", "adm_1", "adm_2"))


async def breaks_of(shop: Shop) -> list[Break]:
    """What the audit says."""
    audit = Audit(shop.node().table, shop.clock.now_ms)
    return [each async for each in audit.breaks()]


def spoil(shop: Shop, places: Places, corruption: Corruption) -> Callable[[], None]:
    """Change the item; what is returned puts it right again."""
    shelves = shop.fake.tables[TABLE]
    pk = corruption.pk.format(**places)
    (key,) = [k for k in shelves.images() if k[0] == pk and k[1].startswith(corruption.sk)][:1]
    image = shelves.images()[key]
    after = corruption.change(from_item(image))
    shelves.put(key, None if after is None else to_item(after), 0)
    return lambda: shelves.put(key, image, 0)


def setting(**values: object) -> Callable[[Item], Item]:
    return lambda item: {**item, **values}


def adding(name: str, amount: int) -> Callable[[Item], Item]:
    return lambda item: {**item, name: item[name] + amount}


def leg_of(account: str, **changes: object) -> Callable[[Item], Item]:
    """One leg is another."""

    def change(item: Item) -> Item:
        legs = [{**leg, **changes} if leg["account"] == account else leg for leg in item["legs"]]
        return {**item, "legs": legs}

    return change


def shifted(first: str, second: str, amount: int) -> Callable[[Item], Item]:
    """An amount goes from one leg to another; the entry still sums to zero."""

    def change(item: Item) -> Item:
        by = {first: amount, second: -amount}
        legs = [
            {**leg, "amount": leg["amount"] + by.get(leg["account"].partition(".")[0], 0)}
            for leg in item["legs"]
        ]
        return {**item, "legs": legs}

    return change


def gone(_item: Item) -> None:
    """The item is not there any more."""


_VENDOR, _RIDER = f"WALLET#VENDOR#{VENDOR}", f"WALLET#RIDER#{RIDER}"
_CASH, _USER = f"WALLET#RIDERCASH#{RIDER}", "WALLET#USER#usr_1"
_LINE, _SETTLED = "TXN#000000000001", "ORDER#{settled}"

CORRUPTIONS = [
    Corruption("a line is gone", _VENDOR, "TXN#000000000002", gone, "line_follows"),
    Corruption("the first line is gone", _VENDOR, _LINE, gone, "line_follows"),
    Corruption("a line's amount", _VENDOR, _LINE, adding("amount", 1), "line_adds_up"),
    Corruption("a line's after", _RIDER, _LINE, adding("balanceAfter", 1), "line_follows"),
    Corruption("a line's before", _RIDER, _LINE, adding("balanceBefore", 1), "line_adds_up"),
    Corruption("a line's category", _RIDER, _LINE, setting(category="TIP"), "line_hash"),
    Corruption("a line's entry", _RIDER, _LINE, setting(entry="ORDER#x/JE#SETTLE"), "line_hash"),
    Corruption("a line's chain", _USER, "TXN#000000000002", setting(prev="0" * 64), "line_hash"),
    Corruption("a line's moment", _USER, _LINE, adding("createdAt", -1), "line_hash"),
    Corruption("a balance", _VENDOR, "BALANCE", adding("posted", 5), "balance_is_last_line"),
    Corruption("what may be spent", _USER, "BALANCE", adding("available", 1), "balance_available"),
    Corruption("what is held", _VENDOR, "BALANCE", adding("held", -1), "held_is_open_holds"),
    Corruption("held cash", _CASH, "BALANCE", adding("held", 1), "held_is_open_holds"),
    Corruption("a line too many", _VENDOR, "BALANCE", adding("seq", -1), "line_follows"),
    Corruption("a head", _RIDER, "BALANCE", setting(head="f" * 64), "balance_is_last_line"),
    Corruption("an entry's sum", _SETTLED, "JE#SETTLE", leg_of(f"RIDER#{RIDER}", amount=1),
               "entry_balances"),
    Corruption("an entry's parts", _SETTLED, "JE#SETTLE",
               shifted(f"VENDOR#{VENDOR}", f"RIDER#{RIDER}", 7), "entry_as_planned"),
    Corruption("an entry's line", _SETTLED, "JE#SETTLE", leg_of(f"RIDER#{RIDER}", seq=9),
               "entry_has_its_lines"),
    Corruption("an entry is gone", _SETTLED, "JE#TIP", gone, "entry_has_its_lines"),
    Corruption("an escrow", "ORDER#{open}", "FIN", adding("escrow", 3), "escrow"),
    Corruption("a settled escrow", _SETTLED, "FIN", setting(escrow=9), "escrow"),
    Corruption("what went back", _SETTLED, "FIN", adding("refunded", -1), "refunds"),
    Corruption("a lane", "WALLET#CLEARING#BANK.0", "BALANCE", adding("posted", 1), "lanes"),
    Corruption("a hold is gone", "ORDER#{held}", "HOLD#CASH", gone, "held_is_open_holds"),
    Corruption("a payout", "PAYOUT#{paid}", "REQUEST", setting(pstate="SUBMITTED"), "payout_state"),
    Corruption("a payment of it", "PAYOUT#{paid}", "JE#PAID", gone, "entry_has_its_lines"),
]  # fmt: skip
