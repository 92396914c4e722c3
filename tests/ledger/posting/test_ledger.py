"""The commit path on a real engine: a fact is posted once, whole, or not at all."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from ledger.core import accounts
from ledger.core.facts import (
    Capture,
    Refund,
    Settle,
    TopUp,
    entry_key,
)
from ledger.core.order_funds import funds_key, mark_delivered
from ledger.core.pricing import DEFAULT_RATES, Pricing, price_goods
from ledger.dynamodb.table import (
    Delete,
    Key,
    Put,
    Query,
    Table,
    TableUnavailable,
    TransactionCancelled,
    Update,
    Write,
)
from ledger.posting.errors import GuardFailed, LedgerRefused
from ledger.posting.ledger import Ledger, PostingLimits
from ledger.posting.transaction import PostedEntry
from ledger.records.payments import payment_key
from ledger.records.wallets import GENESIS, line_hash
from tests.ledger.scenarios.ledger_setup import Books, expect_refusal

pytestmark = pytest.mark.engines

GUARD = Put(item={"PK": "GUARD", "SK": "1", "n": 1}, condition="attribute_not_exists(PK)")


async def top_up(
    books: Books, amount: int, user_id: str = "u", payment_id: str = "p0"
) -> PostedEntry:
    return await books.ledger.post(TopUp(user_id, amount, "sandbox", payment_id))


def capture(food: Pricing, order_id: str = "o1", user_id: str = "u") -> Capture:
    return Capture(order_id, user_id, "v", "WALLET", food)


async def pay_and_deliver(books: Books, food: Pricing, order_id: str = "o1") -> None:
    """An order that is paid from a filled wallet and delivered."""
    await top_up(books, 20_000, payment_id=f"p-{order_id}")
    await books.ledger.post(capture(food, order_id))
    delivered = mark_delivered(order_id, "r", books.clock.now_ms())
    await books.table.transact(delivered.writes)


async def snapshot_of(books: Books) -> dict[str, object]:
    """Trial balance, one wallet's lines and one order's funds, to see that nothing moved."""
    trial = await books.statements.trial_balance()
    lines = await books.statements.transactions("USER", "u")
    funds = await books.table.get(funds_key("o1"))
    return {"trial": trial, "lines": lines, "funds": funds}


async def test_an_order_is_paid_delivered_and_settled(books: Books, food_pricing: Pricing) -> None:
    """After the settlement every franc of the customer's is with vendor, rider and platform."""
    await pay_and_deliver(books, food_pricing)
    settled = await books.ledger.post(Settle("o1"), [GUARD])
    assert (settled.total, settled.is_replayed) == (13_499, False)
    assert {a: line.amount for a, line in settled.lines.items()} == {
        "VENDOR#v": 10_200,
        "RIDER#r": 1500,
    }
    trial = await books.statements.trial_balance()
    shards = [a for a in trial["accounts"] if a["account"].startswith("PLATFORM#COMMISSION.")]
    assert [shard["balance"] for shard in shards] == [1799]
    assert (trial["total"], trial["entries"]) == (0, 3)
    assert await books.statements.balance("VENDOR", "v") == {
        "availableBalance": 10_200,
        "pendingBalance": 0,
        "totalEarned": 10_200,
        "currency": "XAF",
    }
    funds = await books.table.get(funds_key("o1"))
    assert funds is not None
    assert (funds["fundsState"], funds["escrow"], "GSI2PK" in funds) == ("SETTLED", 0, False)
    assert await books.table.get(Key("GUARD", "1")) == GUARD.item


async def test_a_settlement_costs_seven_writes(books: Books, food_pricing: Pricing) -> None:
    """Warm, a prepaid settlement is 7 items: entry, FUNDS, two wallets with a line, a shard."""
    await pay_and_deliver(books, food_pricing, "o0")
    await pay_and_deliver(books, food_pricing)
    sent: list[int] = []

    class CountingTable:
        def __getattr__(self, name: str) -> object:
            return getattr(books.table, name)

        async def transact(self, writes: Sequence[Write], token: str | None = None) -> None:
            sent.append(len(writes))
            await books.table.transact(writes, token)

    table: Table = CountingTable()  # pyright: ignore[reportAssignmentType]
    ledger = Ledger(table, books.clock.now_ms)
    for order_id in ("o0", "o1"):
        await ledger.post(Settle(order_id))
    assert sent[1:] == [7]


async def test_settling_twice_is_settling_once(books: Books, food_pricing: Pricing) -> None:
    """The second settlement, here or in another process, gets the first one's answer."""
    await pay_and_deliver(books, food_pricing)
    first = await books.ledger.post(Settle("o1"))
    books.clock.advance(86_400_000)
    for ledger in (books.ledger, books.another_ledger()):
        again = await ledger.post(Settle("o1"), [GUARD])
        assert again.is_replayed
        assert (again.entry_id, again.lines, again.total) == (
            first.entry_id,
            first.lines,
            first.total,
        )
    assert (await books.statements.trial_balance())["entries"] == 3
    # A repetition does not apply its guards.
    assert await books.table.get(Key("GUARD", "1")) is None


async def test_twenty_settlements_at_once_are_one(books: Books, food_pricing: Pricing) -> None:
    """20 callers in 5 processes settle one order: one entry, 20 equal answers."""
    await pay_and_deliver(books, food_pricing)
    ledgers = [books.another_ledger() for _ in range(5)]
    answers = await asyncio.gather(*(ledgers[i % 5].post(Settle("o1")) for i in range(20)))
    assert sum(not answer.is_replayed for answer in answers) == 1
    assert len({str(sorted(answer.lines.items())) for answer in answers}) == 1
    vendor = await books.statements.transactions("VENDOR", "v")
    assert [line["amount"] for line in vendor["items"]] == [10_200]
    trial = await books.statements.trial_balance()
    assert (trial["total"], trial["entries"]) == (0, 3)


async def test_many_orders_of_one_vendor_settle_at_once(
    books: Books, food_pricing: Pricing
) -> None:
    """A busy vendor's 12 settlements from 3 processes are 12 lines without gaps."""
    orders = [f"o{i}" for i in range(12)]
    for order_id in orders:
        await pay_and_deliver(books, food_pricing, order_id)
    ledgers = [books.another_ledger() for _ in range(3)]
    await asyncio.gather(*(ledgers[i % 3].post(Settle(o)) for i, o in enumerate(orders)))
    lines = (await books.statements.transactions("VENDOR", "v"))["items"]
    assert [line["seq"] for line in lines] == list(range(12, 0, -1))
    assert [line["balanceAfter"] for line in lines] == [10_200 * n for n in range(12, 0, -1)]
    assert (await books.statements.trial_balance())["total"] == 0


async def test_too_little_money_changes_nothing(books: Books, food_pricing: Pricing) -> None:
    """A wallet one franc short is refused, and neither money nor the caller's write is applied."""
    await top_up(books, 13_498)
    before = await snapshot_of(books)
    assert (
        await expect_refusal(books.ledger, capture(food_pricing), [GUARD])
    ).code == "insufficient_funds"
    assert await snapshot_of(books) == before
    assert await books.table.get(Key("GUARD", "1")) is None
    await top_up(books, 1, payment_id="p1")
    assert (await books.ledger.post(capture(food_pricing), [GUARD])).lines[
        "USER#u"
    ].balance_after == 0


async def test_a_wallet_never_used_has_too_little(books: Books, food_pricing: Pricing) -> None:
    """A missing wallet counts as an empty wallet."""
    assert (await expect_refusal(books.ledger, capture(food_pricing))).code == "insufficient_funds"
    assert await books.table.get(funds_key("o1")) is None


async def test_a_failed_guard_leaves_no_trace(books: Books, food_pricing: Pricing) -> None:
    """A failed guard is named by its position, with the item that was found."""
    await top_up(books, 20_000)
    await books.table.transact([GUARD])
    before = await snapshot_of(books)
    other = Put(item={"PK": "GUARD", "SK": "2"})
    with pytest.raises(GuardFailed) as raised:
        await books.ledger.post(capture(food_pricing), [other, GUARD])
    assert (raised.value.position, raised.value.item) == (1, GUARD.item)
    assert await snapshot_of(books) == before
    assert await books.table.get(Key("GUARD", "2")) is None
    assert await books.table.get(entry_key(capture(food_pricing))) is None


async def test_a_failed_guard_is_reported_before_insufficient_funds(
    books: Books, food_pricing: Pricing
) -> None:
    """Of a failed guard and a missing balance the guard is reported."""
    await books.table.transact([GUARD])
    with pytest.raises(GuardFailed):
        await books.ledger.post(capture(food_pricing), [GUARD])


async def test_the_same_key_with_another_body_is_a_conflict(
    books: Books, food_pricing: Pricing
) -> None:
    """A key that was used for one fact refuses another."""
    await top_up(books, 20_000)
    await books.ledger.post(capture(food_pricing))
    assert (await expect_refusal(books.ledger, TopUp("u", 1, "sandbox", "p0"))).code == "conflict"
    other = Capture("o1", "w", "v", "WALLET", food_pricing)
    assert (await expect_refusal(books.ledger, other)).code == "conflict"
    await books.ledger.post(Refund("o1", "closed"))
    assert (await expect_refusal(books.ledger, Refund("o1", "late"))).code == "conflict"


async def test_a_repeated_capture_is_answered_from_an_empty_wallet(
    books: Books, food_pricing: Pricing
) -> None:
    """A repetition is answered although the first capture emptied the wallet."""
    await top_up(books, 13_499)
    first = await books.ledger.post(capture(food_pricing))
    again = await books.another_ledger().post(capture(food_pricing))
    assert (again.is_replayed, again.lines) == (True, first.lines)


async def test_two_orders_race_for_one_wallet(books: Books, food_pricing: Pricing) -> None:
    """With money for one order and five at once, one is paid and four are refused."""
    await top_up(books, 13_499)
    ledgers = [books.another_ledger() for _ in range(5)]
    facts = [capture(food_pricing, f"o{i}") for i in range(5)]
    calls = (ledger.post(fact) for ledger, fact in zip(ledgers, facts, strict=True))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, PostedEntry) for result in results) == 1
    codes = [result.code for result in results if isinstance(result, LedgerRefused)]
    assert codes == ["insufficient_funds"] * 4
    assert (await books.statements.balance("USER", "u"))["availableBalance"] == 0


async def test_concurrent_first_credits_create_one_wallet(books: Books) -> None:
    """16 first credits in 16 processes at once make one wallet with 16 lines."""
    facts = [TopUp("new", 100 + i, "sandbox", f"p{i}") for i in range(16)]
    await asyncio.gather(*(books.another_ledger().post(fact) for fact in facts))
    balance = await books.statements.balance("USER", "new")
    assert balance["availableBalance"] == sum(fact.amount for fact in facts)
    lines = (await books.statements.transactions("USER", "new"))["items"]
    assert [line["seq"] for line in lines] == list(range(16, 0, -1))
    trial = await books.statements.trial_balance()
    assert (trial["total"], trial["entries"]) == (0, 16)


async def test_a_refund_returns_exactly_the_escrow(books: Books, food_pricing: Pricing) -> None:
    """After a cancelled payment the wallet is as before, the escrow empty and the order closed."""
    await top_up(books, 20_000)
    await books.ledger.post(capture(food_pricing))
    refunded = await books.ledger.post(Refund("o1", "vendor closed"), [GUARD])
    assert refunded.total == 13_499
    assert (await books.statements.balance("USER", "u"))["availableBalance"] == 20_000
    funds = await books.ledger.get_funds("o1")
    assert funds is not None
    assert (funds.funds_state, funds.escrow) == ("CANCELLED", 0)
    assert (await expect_refusal(books.ledger, Settle("o1"))).code == "wrong_state"
    assert (await books.ledger.post(Refund("o1", "vendor closed"))).is_replayed


async def test_settling_and_refunding_exclude_each_other(
    books: Books, food_pricing: Pricing
) -> None:
    """When delivery and cancellation race, money leaves the escrow once."""
    for i in range(6):
        order_id = f"o{i}"
        await top_up(books, 13_499, payment_id=f"p{i}")
        await books.ledger.post(capture(food_pricing, order_id))
        delivered = mark_delivered(order_id, "r", books.clock.now_ms())
        results = await asyncio.gather(
            books.table.transact(delivered.writes),
            books.another_ledger().post(Refund(order_id, "late")),
            return_exceptions=True,
        )
        assert sum(isinstance(result, Exception) for result in results) == 1
        await asyncio.gather(
            books.another_ledger().post(Settle(order_id)),
            books.another_ledger().post(Refund(order_id, "late")),
            return_exceptions=True,
        )
        funds = await books.ledger.get_funds(order_id)
        assert funds is not None
        assert (funds.funds_state in {"SETTLED", "CANCELLED"}, funds.escrow) == (True, 0)
    assert (await books.statements.trial_balance())["total"] == 0


async def test_unpaid_orders_are_neither_settled_nor_refunded(
    books: Books, food_pricing: Pricing
) -> None:
    """Without a capture nothing can be settled or refunded."""
    assert (await expect_refusal(books.ledger, Settle("o9"))).code == "not_found"
    await books.table.transact([books.ledger.open_pending_funds("o1", "u", "v", food_pricing)])
    assert (await expect_refusal(books.ledger, Settle("o1"))).code == "wrong_state"
    assert (await expect_refusal(books.ledger, Refund("o1", "x"))).code == "wrong_state"
    with pytest.raises(TransactionCancelled):
        await books.table.transact(mark_delivered("o1", "r", 1).writes)


async def freeze(books: Books) -> None:
    frozen = Update(
        key=accounts.balance_key("USER#u"),
        expression="SET #status = :frozen",
        names={"#status": "status"},
        values={":frozen": "FROZEN"},
    )
    await books.table.transact([frozen])


async def test_a_frozen_wallet_receives_but_does_not_pay(
    books: Books, food_pricing: Pricing
) -> None:
    """Debits are refused while a wallet is frozen; credits still arrive."""
    await top_up(books, 20_000)
    await freeze(books)
    assert (await expect_refusal(books.ledger, capture(food_pricing))).code == "frozen"
    await top_up(books, 500, payment_id="p1")
    assert (await books.statements.balance("USER", "u"))["availableBalance"] == 20_500


async def test_lines_form_a_chain(books: Books, food_pricing: Pricing) -> None:
    """Each line carries the hash of the one before; the balance carries the last."""
    await top_up(books, 20_000)
    await books.ledger.post(capture(food_pricing))
    await books.ledger.post(Refund("o1", "x"))
    page = await books.table.query(Query(pk="WALLET#USER#u", prefix="TXN#"))
    prev = GENESIS
    for seq, line in enumerate(page.items, start=1):
        assert (line["seq"], line["prev"], line["SK"]) == (seq, prev, f"TXN#{seq:012d}")
        assert line_hash("USER#u", line) == line["hash"]
        prev = line["hash"]
    balance = await books.table.get(accounts.balance_key("USER#u"))
    assert balance is not None
    assert (balance["head"], balance["seq"], balance["posted"]) == (prev, 3, 20_000)


async def test_an_orders_lines_are_listed_together(books: Books, food_pricing: Pricing) -> None:
    """GSI1 lists every wallet line of one order."""
    await pay_and_deliver(books, food_pricing)
    await books.ledger.post(Settle("o1"))
    page = await books.table.query(Query(pk="ORDER#o1#TRANSACTIONS", index="GSI1"))
    assert {item["PK"] for item in page.items} == {
        "WALLET#USER#u",
        "WALLET#VENDOR#v",
        "WALLET#RIDER#r",
    }


async def test_unsettled_orders_are_found_until_they_are_settled(
    books: Books, food_pricing: Pricing
) -> None:
    """An order is listed once it has waited long enough, until it is settled."""
    for order_id in ("o1", "o2", "o3"):
        await pay_and_deliver(books, food_pricing, order_id)
        books.clock.advance(1000)
    now = books.clock.now_ms()
    assert await list_unsettled(books, now, 2000) == {"o1", "o2"}
    await books.ledger.post(Settle("o1"))
    assert await list_unsettled(books, now, 0) == {"o2", "o3"}
    assert await list_unsettled(books, now, 10_000) == set()


async def list_unsettled(books: Books, now_ms: int, older_than_ms: int) -> set[str]:
    """Unsettled orders of all shards."""
    found = [
        await books.ledger.list_unsettled(each, now_ms, older_than_ms)
        for each in range(accounts.LIST_SHARDS)
    ]
    return {order_id for some in found for order_id in some}


async def test_the_oldest_unsettled_order_of_a_shard_is_found_first(
    books: Books, food_pricing: Pricing
) -> None:
    """The order that has waited longest comes first."""
    shard = accounts.list_shard_of("o1")
    same = [f"o{i}" for i in range(1, 200) if accounts.list_shard_of(f"o{i}") == shard][:3]
    for order_id in reversed(same):
        await pay_and_deliver(books, food_pricing, order_id)
        books.clock.advance(1000)
    assert await books.ledger.list_unsettled(shard, books.clock.now_ms(), 0) == same[::-1]


async def test_expected_funds_spare_the_read(books: Books, food_pricing: Pricing) -> None:
    """With current expected funds a warm settlement is one call."""
    await pay_and_deliver(books, food_pricing, "o0")
    await pay_and_deliver(books, food_pricing)
    await books.ledger.post(Settle("o0"))
    funds = await books.ledger.get_funds("o1")
    calls = books.table.counts.calls
    await books.ledger.post(Settle("o1"), expected_funds=funds)
    assert books.table.counts.calls == calls + 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"rider_id": "thief"},
        {"vendor_id": "thief"},
        {"user_id": "thief"},
        {"pricing": price_goods(DEFAULT_RATES["FOOD"], 11_998), "escrow": 13_498},
        {"funds_state": "CAPTURED"},
    ],
)
async def test_wrong_expected_funds_change_nothing(
    books: Books, food_pricing: Pricing, wrong: dict[str, Any]
) -> None:
    """Wrong expected funds move nothing to anyone but the parties of the stored funds."""
    await pay_and_deliver(books, food_pricing)
    funds = await books.ledger.get_funds("o1")
    assert funds is not None
    expected = msgspec.structs.replace(funds, **wrong)
    posted = await books.ledger.post(Settle("o1"), expected_funds=expected)
    assert {a: line.amount for a, line in posted.lines.items()} == {
        "VENDOR#v": 10_200,
        "RIDER#r": 1500,
    }


async def test_a_line_is_never_overwritten(books: Books) -> None:
    """A wallet whose balance is behind its lines takes no money, rather than lose a line."""
    impatient = Ledger(books.table, books.clock.now_ms, limits=PostingLimits(deadline_s=0.05))
    planted = Put(item={"PK": "WALLET#USER#u", "SK": "TXN#000000000001", "planted": True})
    await books.table.transact([planted])
    with pytest.raises(TableUnavailable, match="changed"):
        await impatient.post(TopUp("u", 100, "sandbox", "p0"))
    assert await books.table.get(Key("WALLET#USER#u", "TXN#000000000001")) == planted.item


async def test_an_entry_is_never_overwritten(books: Books) -> None:
    """A payment whose state was reset is still booked only once, because its entry exists."""
    first = await top_up(books, 100)
    reopen = Update(
        key=payment_key("sandbox", "p0"),
        expression="SET paymentState = :pending",
        values={":pending": "PENDING"},
    )
    await books.table.transact([reopen])
    again = await books.another_ledger().post(TopUp("u", 100, "sandbox", "p0"))
    assert (again.is_replayed, again.lines) == (True, first.lines)
    assert (await books.statements.balance("USER", "u"))["availableBalance"] == 100


async def test_a_missing_account_shard_is_created_again(books: Books) -> None:
    """A shard that is cached as existing but is missing is created, and the entry is not lost."""
    await top_up(books, 100)
    shard = accounts.clearing("sandbox", 0)
    await books.table.transact([Delete(key=accounts.balance_key(shard))])
    await top_up(books, 50, payment_id="p1")
    item = await books.table.get(accounts.balance_key(shard))
    assert item is not None
    assert item["posted"] == -50


async def test_a_wallet_created_meanwhile_is_not_created_again(
    books: Books, food_pricing: Pricing
) -> None:
    """A wallet cached as missing, then created and frozen elsewhere, stays frozen when credited."""
    assert (await expect_refusal(books.ledger, capture(food_pricing))).code == "insufficient_funds"
    await books.another_ledger().post(TopUp("u", 1, "sandbox", "p1"))
    await freeze(books)
    line = accounts.line_key("USER#u", 1)
    await books.table.transact([Delete(key=line)])
    await top_up(books, 100)
    assert (await expect_refusal(books.ledger, capture(food_pricing))).code == "frozen"
    assert (await books.statements.balance("USER", "u"))["availableBalance"] == 101


async def test_guards_may_not_touch_the_books(books: Books, food_pricing: Pricing) -> None:
    """A guard on an item of the entry itself is an error before anything is sent."""
    await top_up(books, 20_000)
    with pytest.raises(ValueError, match="two writes"):
        await books.ledger.post(
            capture(food_pricing), [Put(item={"PK": "ORDER#o1", "SK": "FUNDS"})]
        )


class UncommittedTable:
    """A table whose transactions are neither committed nor answered."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __getattr__(self, name: str) -> object:
        return getattr(self._table, name)

    async def transact(self, writes: Sequence[Write], token: str | None = None) -> None:
        raise TableUnavailable("no answer")


class CommittedButSilentTable(UncommittedTable):
    """A table whose transactions are committed but not answered."""

    async def transact(self, writes: Sequence[Write], token: str | None = None) -> None:
        await self._table.transact(writes, token)
        await super().transact(writes, token)


async def test_an_unknown_outcome_is_read_back(books: Books) -> None:
    """Without an answer the entry is looked up: found is success, missing is unknown."""
    done: Table = CommittedButSilentTable(books.table)  # pyright: ignore[reportAssignmentType]
    posted = await Ledger(done, books.clock.now_ms).post(TopUp("u", 700, "sandbox", "p1"))
    assert posted.lines["USER#u"].balance_after == 700
    lost: Table = UncommittedTable(books.table)  # pyright: ignore[reportAssignmentType]
    with pytest.raises(TableUnavailable):
        await Ledger(lost, books.clock.now_ms).post(TopUp("u", 300, "sandbox", "p2"))
    assert (await books.statements.balance("USER", "u"))["availableBalance"] == 700
    assert not (await top_up(books, 300, payment_id="p2")).is_replayed


async def test_a_small_balance_cache_is_only_slower(books: Books, food_pricing: Pricing) -> None:
    """With one cached balance everything is read again and the result is the same."""
    limits = PostingLimits(balances_cached_max=1)
    ledger = Ledger(books.table, books.clock.now_ms, limits=limits)
    await pay_and_deliver(books, food_pricing, "o1")
    await pay_and_deliver(books, food_pricing, "o2")
    for order_id in ("o1", "o2"):
        await ledger.post(Settle(order_id))
    assert (await books.statements.balance("VENDOR", "v"))["availableBalance"] == 20_400
    assert (await books.statements.trial_balance())["total"] == 0


async def test_a_cancelled_caller_pays_once(books: Books) -> None:
    """A post whose caller is cancelled at any moment is posted once when it is repeated."""
    fact = TopUp("u", 100, "sandbox", "p1")
    for steps in range(0, 60, 4):
        task = asyncio.create_task(books.ledger.post(fact))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await books.table.wait_for_transactions()
    await books.ledger.post(fact)
    assert (await books.statements.balance("USER", "u"))["availableBalance"] == 100
    assert (await books.statements.trial_balance())["entries"] == 1
