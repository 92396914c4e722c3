"""History of a wallet on a real engine."""

import pytest

from ledger.core.facts import Capture, Settle, TopUp
from ledger.core.order_funds import mark_delivered
from ledger.core.pricing import Pricing
from ledger.records.wallets import Balance
from ledger.reporting.history import Earnings, History
from tests.ledger.scenarios.ledger_setup import Books

pytestmark = pytest.mark.engines

USER = "USER#u"


async def top_up_each_second(books: Books, count: int) -> int:
    """Top-ups of 1, 2, 3, ... a second apart; the time of the first. Units: Unix ms."""
    start_ms = books.clock.now_ms()
    for number in range(1, count + 1):
        await books.ledger.post(TopUp("u", number, "sandbox", f"p{number}"))
        books.clock.advance(1_000)
    return start_ms


async def test_the_balance_at_a_moment_includes_its_lines(books: Books) -> None:
    """Before the first line it is zero, at a line's moment the line counts."""
    start_ms = await top_up_each_second(books, 4)
    history = History(books.table)
    moments = [-1, 0, 999, 1_000, 3_000, 10**6]
    found = [await history.balance_at(USER, start_ms + after) for after in moments]
    assert found == [0, 1, 1, 3, 10, 10]


async def test_a_statement_is_the_lines_between_two_moments(books: Books) -> None:
    """The first moment is included, the last is not; opening and closing fit the lines."""
    start_ms = await top_up_each_second(books, 5)
    statement = await History(books.table).statement(USER, start_ms + 1_000, start_ms + 3_000, 10)
    assert [line["amount"] for line in statement["items"]] == [2, 3]
    assert (statement["openingBalance"], statement["closingBalance"]) == (1, 6)
    assert statement["nextCursor"] is None


async def test_a_statement_has_pages(books: Books) -> None:
    """The cursor of a page is the number of the next page's first line."""
    start_ms = await top_up_each_second(books, 5)
    history = History(books.table)
    first, second, last = [
        await history.statement(USER, start_ms, start_ms + 10**6, 2, first_line)
        for first_line in (0, 3, 5)
    ]
    pages = [[line["seq"] for line in page["items"]] for page in (first, second, last)]
    assert pages == [[1, 2], [3, 4], [5]]
    cursors = [page["nextCursor"] for page in (first, second, last)]
    assert cursors == ["3", "5", None]


async def test_an_unused_wallet_has_an_empty_history(books: Books) -> None:
    """No lines, no earnings, and a balance of zero."""
    history = History(books.table)
    statement = await history.statement("RIDER#new", 0, 10**15, 10)
    assert (statement["items"], statement["closingBalance"]) == ([], 0)
    assert await history.balance_at("RIDER#new", 10**15) == Balance(account="RIDER#new").posted
    assert await history.earned_since("RIDER#new", 0) == [Earnings(0, 0)]


async def test_top_ups_are_no_earnings(books: Books) -> None:
    """Earnings count the earning categories only."""
    start_ms = await top_up_each_second(books, 3)
    assert await History(books.table).earned_since(USER, start_ms) == [Earnings(0, 0)]


async def test_earnings_are_counted_since_each_moment(books: Books, food_pricing: Pricing) -> None:
    """Of two settlements the later moment counts one, the earlier both."""
    moments: list[int] = []
    for number in (1, 2):
        order_id = f"o{number}"
        await books.ledger.post(TopUp("u", food_pricing.total, "sandbox", order_id))
        await books.ledger.post(Capture(order_id, "u", "v", "WALLET", food_pricing))
        delivered = mark_delivered(order_id, "r", books.clock.now_ms())
        await books.table.transact(delivered.writes)
        moments.append(books.clock.now_ms())
        await books.ledger.post(Settle(order_id))
        books.clock.advance(1_000)
    share = food_pricing.rider_share
    found = await History(books.table).earned_since("RIDER#r", moments[1], moments[0])
    assert found == [Earnings(share, 1), Earnings(2 * share, 2)]
