"""Statements: wallets and the trial balance."""

import asyncio
import random
from itertools import pairwise

import pytest

from ledger.core.accounts import LIST_SHARDS, AccountKind
from ledger.core.entries import business_day
from ledger.core.facts import Capture, Refund, Settle, TopUp
from ledger.core.order_funds import DeliveredCash, mark_delivered, void_funds
from ledger.core.pricing import DEFAULT_RATES, Pricing, price_goods, price_package
from ledger.dynamodb.table import Query, TransactionCancelled
from ledger.posting.errors import LedgerRefused
from ledger.posting.ledger import Ledger
from ledger.records.cash_holds import release_cash, reserve_cash
from tests.ledger.scenarios.ledger_setup import Books

pytestmark = pytest.mark.engines

ZERO = {"availableBalance": 0, "pendingBalance": 0, "totalEarned": 0, "currency": "XAF"}


async def test_an_unused_wallet_reads_as_zeros(books: Books) -> None:
    """A missing wallet has zeros and no lines, and an empty ledger sums to zero."""
    for owner in ("USER", "VENDOR", "RIDER"):
        assert await books.statements.balance(owner, "nobody") == ZERO
        lines = await books.statements.transactions(owner, "nobody")
        assert lines == {"items": [], "nextCursor": None}
    assert await books.statements.trial_balance() == {"total": 0, "accounts": [], "entries": 0}


@pytest.mark.parametrize(
    ("owner_type", "owner_id"), [("RIDERCASH", "r"), ("user", "u"), ("USER", "a#b"), ("X", "y")]
)
async def test_only_owners_have_wallets(books: Books, owner_type: str, owner_id: str) -> None:
    """Internal accounts, wrong cases and malformed ids are refused."""
    with pytest.raises(ValueError, match=r"wallet|id|Kind"):
        await books.statements.balance(owner_type, owner_id)
    with pytest.raises(ValueError, match=r"wallet|id|Kind"):
        await books.statements.transactions(owner_type, owner_id)


async def test_lines_run_from_the_newest_to_the_first(books: Books, food_pricing: Pricing) -> None:
    """Each page continues the one before; every balance follows from the line's amount."""
    for i in range(5):
        await books.ledger.post(TopUp("u", 10_000 + i, "sandbox", f"p{i}"))
        books.clock.advance(1000)
    await books.ledger.post(Capture("o1", "u", "v", "WALLET", food_pricing))
    first = await books.statements.transactions("USER", "u", limit=4)
    rest = await books.statements.transactions("USER", "u", limit=4, cursor=first["nextCursor"])
    lines = first["items"] + rest["items"]
    assert ([line["seq"] for line in lines], rest["nextCursor"]) == ([6, 5, 4, 3, 2, 1], None)
    assert lines[0] == {
        "transactionId": lines[0]["transactionId"],
        "seq": 6,
        "type": "DEBIT",
        "category": "ORDER_PAYMENT",
        "amount": 13_499,
        "balanceBefore": 50_010,
        "balanceAfter": 36_511,
        "createdAt": books.clock.now_ms(),
        "orderId": "o1",
    }
    assert len({line["transactionId"] for line in lines}) == 6
    assert "orderId" not in lines[1]
    for newer, older in pairwise(lines):
        assert newer["balanceBefore"] == older["balanceAfter"]
    assert lines[-1]["balanceBefore"] == 0
    with pytest.raises(ValueError, match="cursor"):
        await books.statements.transactions("VENDOR", "v", cursor=first["nextCursor"])


class RandomTraffic:
    """Random traffic over the whole ledger; refusals are expected, other errors are not."""

    def __init__(self, books: Books, seed: int) -> None:
        self._books = books
        self._rng = random.Random(seed)
        self._ledgers = [books.another_ledger() for _ in range(3)]
        self.refused = 0

    async def run_one(self, number: int) -> None:
        """One random top-up or order, with a random end."""
        rng = self._rng
        user, rider = f"u{rng.randrange(4)}", f"r{rng.randrange(3)}"
        step = rng.choice(
            [
                self._top_up,
                self._order_from_wallet,
                self._order_by_mobile_money,
                self._order_for_cash,
            ]
        )
        try:
            await step(f"o{number}", user, rider)
        except (LedgerRefused, TransactionCancelled):
            self.refused += 1

    async def _top_up(self, order_id: str, user: str, _rider: str) -> None:
        fact = TopUp(user, self._rng.randrange(1, 40_000), "sandbox", order_id)
        await asyncio.gather(*(ledger.post(fact) for ledger in self._ledgers))

    async def _order_from_wallet(self, order_id: str, user: str, rider: str) -> None:
        vendor, price = self._random_price()
        await self._pick_ledger().post(Capture(order_id, user, vendor, "WALLET", price))
        await self._finish_order(order_id, rider)

    async def _order_by_mobile_money(self, order_id: str, user: str, rider: str) -> None:
        vendor, price = self._random_price()
        opening = self._pick_ledger().open_pending_funds(order_id, user, vendor, price)
        await self._books.table.transact([opening])
        fact = Capture(order_id, user, vendor, "MOBILE_MONEY", price, order_id, "mtn")
        await asyncio.gather(*(ledger.post(fact) for ledger in self._ledgers))
        await self._finish_order(order_id, rider)

    async def _order_for_cash(self, order_id: str, user: str, rider: str) -> None:
        vendor, price = self._random_price()
        now = self._books.clock.now_ms()
        table = self._books.table
        await table.transact([self._pick_ledger().open_cash_funds(order_id, user, vendor, price)])
        await table.transact(reserve_cash(order_id, rider, price.total, 50_000, now).writes)
        delivered = mark_delivered(
            order_id, rider, now, DeliveredCash(price.total, price.total)
        ).writes
        release = release_cash(order_id, rider, price.total, now).writes
        off = (*void_funds(order_id, now).writes, *release)
        await table.transact(self._rng.choice([delivered, delivered, off]))
        await self._pick_ledger().post(Settle(order_id))

    async def _finish_order(self, order_id: str, rider: str) -> None:
        """Delivered and settled by two at once, cancelled by two at once, or left in escrow."""
        now = self._books.clock.now_ms()
        endings: list[Settle | Refund | None] = [Settle(order_id), Refund(order_id, "no"), None]
        ending = self._rng.choice(endings)
        delivered = mark_delivered(order_id, rider, now).writes
        for _ in range(isinstance(ending, Settle)):
            await self._books.table.transact(delivered)
        facts = [fact for fact in (ending, ending) if fact]
        await asyncio.gather(*(self._pick_ledger().post(fact) for fact in facts))

    def _pick_ledger(self) -> Ledger:
        return self._rng.choice(self._ledgers)

    def _random_price(self) -> tuple[str | None, Pricing]:
        rng = self._rng
        goods = price_goods(DEFAULT_RATES["FOOD"], rng.randrange(2000, 20_000))
        parcel = price_package(DEFAULT_RATES["PACKAGE"], rng.randrange(20_000), fragile=True)
        return rng.choice([(f"v{rng.randrange(2)}", goods), (None, parcel)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_random_traffic_keeps_the_ledger_balanced(books: Books, seed: int) -> None:
    """After 40 random steps, eight at a time on three ledgers, all accounts sum to zero."""
    traffic = RandomTraffic(books, seed)
    for start in range(0, 40, 8):
        await asyncio.gather(*(traffic.run_one(start + i) for i in range(8)))
        books.clock.advance(500)
    trial = await books.statements.trial_balance()
    balances = {row["account"]: row["balance"] for row in trial["accounts"]}
    assert trial["total"] == sum(balances.values()) == 0
    assert 0 < traffic.refused < 40
    kinds = set(AccountKind) - {AccountKind.RECEIVABLE, AccountKind.SUSPENSE}
    assert {name.split("#")[0] for name in balances} == kinds
    for name in (n for n in balances if n.split("#")[0] in {"USER", "VENDOR", "RIDER"}):
        await assert_chained(books, name, balances[name])
    # Every entry is in the journal of its day, and counted once.
    day = business_day(books.clock.now_ms())
    queries = (Query(pk=f"JE#{day}#{i}", index="GSI3", limit=100) for i in range(LIST_SHARDS))
    pages = await asyncio.gather(*map(books.table.query, queries))
    entries = [item for page in pages for item in page.items]
    assert len(entries) == trial["entries"]
    assert all(sum(leg["amount"] for leg in entry["legs"]) == 0 for entry in entries)


async def assert_chained(books: Books, account: str, balance: int) -> None:
    """Lines have no gaps, are chained, and end at the balance, which is not negative."""
    owner_type, owner_id = account.split("#")
    page = await books.statements.transactions(owner_type, owner_id, limit=200)
    before = 0
    for seq, line in enumerate(reversed(page["items"]), start=1):
        sign = {"CREDIT": 1, "DEBIT": -1}[line["type"]]
        assert (line["seq"], line["balanceBefore"]) == (seq, before)
        before += sign * line["amount"]
        assert line["balanceAfter"] == before
    assert balance == before
    assert balance >= 0


async def test_the_trial_balance_is_zero_while_money_moves(
    books: Books, food_pricing: Pricing
) -> None:
    """Read while orders are posted, the trial balance is zero, and so it is afterwards."""
    orders = [f"o{i}" for i in range(10)]
    await books.ledger.post(TopUp("u", 200_000, "sandbox", "p"))

    async def trade(order_id: str) -> None:
        await books.ledger.post(Capture(order_id, "u", "v", "WALLET", food_pricing))
        delivered = mark_delivered(order_id, "r", books.clock.now_ms())
        await books.table.transact(delivered.writes)
        await books.ledger.post(Settle(order_id))

    reading = asyncio.create_task(books.statements.trial_balance())
    await asyncio.gather(*map(trade, orders))
    assert (await reading)["total"] == 0
    assert (await books.statements.trial_balance())["entries"] == 21
