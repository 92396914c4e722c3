"""One attempt to commit a planned entry."""

import pytest

from ledger.core.entries import JournalEntry
from ledger.core.entry_planning import plan_entry
from ledger.core.facts import Capture, TopUp
from ledger.core.pricing import Pricing
from ledger.dynamodb.table import Put
from ledger.posting.balance_cache import BalanceCache
from ledger.posting.commit import Committer, Plan
from ledger.posting.errors import GuardFailed, LedgerRefused
from ledger.posting.locks import KeyedLocks
from tests.ledger.scenarios.ledger_setup import Books

pytestmark = pytest.mark.engines

TOP_UP = TopUp("u", 500, "sandbox", "p1")
GUARD = Put(item={"PK": "GUARD", "SK": "1"}, condition="attribute_not_exists(PK)")


def committer_of(books: Books) -> Committer:
    return Committer(books.table, books.clock.now_ms, BalanceCache(books.table), KeyedLocks())


def plan_of(fact: TopUp | Capture) -> Plan:
    entry = plan_entry(fact, None, 0)
    assert isinstance(entry, JournalEntry)
    return Plan(fact, None, entry)


async def test_a_planned_entry_is_committed(books: Books) -> None:
    """The entry is posted, and found as posted afterwards."""
    committer = committer_of(books)
    posted = await committer.commit(plan_of(TOP_UP), [GUARD])
    assert posted is not None
    found = await committer.find_posted(TOP_UP)
    assert found is not None
    assert (posted.is_replayed, found.is_replayed) == (False, True)
    assert found.lines == posted.lines


async def test_an_unposted_fact_is_not_found(books: Books) -> None:
    """Before its commit a fact has no entry."""
    assert await committer_of(books).find_posted(TOP_UP) is None


async def test_a_stale_balance_asks_for_another_attempt(books: Books) -> None:
    """An attempt on a balance that has changed elsewhere is None, and the next one succeeds."""
    committer = committer_of(books)
    await committer.commit(plan_of(TOP_UP), [])
    await books.ledger.post(TopUp("u", 1, "sandbox", "elsewhere"))
    plan = plan_of(TopUp("u", 2, "sandbox", "p2"))
    assert await committer.commit(plan, []) is None
    posted = await committer.commit(plan, [])
    assert posted is not None
    assert posted.lines["USER#u"].balance_after == 503


async def test_a_failed_guard_and_a_missing_balance_are_named(
    books: Books, food_pricing: Pricing
) -> None:
    """The guard is reported with its position, an uncovered debit with its code."""
    capture = plan_of(Capture("o1", "u", "v", "WALLET", food_pricing))
    with pytest.raises(LedgerRefused, match="insufficient_funds"):
        await committer_of(books).commit(capture, [])
    await books.table.transact([GUARD])
    with pytest.raises(GuardFailed) as raised:
        await committer_of(books).commit(capture, [GUARD])
    assert (raised.value.position, raised.value.item) == (0, GUARD.item)


async def test_another_fact_under_the_same_key_is_a_conflict(books: Books) -> None:
    """A fact whose key was used by another is refused."""
    committer = committer_of(books)
    await committer.commit(plan_of(TOP_UP), [])
    with pytest.raises(LedgerRefused, match="conflict"):
        await committer.find_posted(TopUp("u", 501, "sandbox", "p1"))
