"""The transaction of one entry or several."""

import pytest

from ledger.core.entries import JournalEntry
from ledger.core.entry_planning import plan_entry
from ledger.core.facts import Fact, Settle, TopUp
from ledger.core.order_funds import OrderFunds
from ledger.dynamodb.table import Put, Update, key_of
from ledger.posting.transaction import (
    PostingPart,
    compose,
    compose_batch,
    read_posted,
    wallet_legs,
)
from ledger.records.effects import build_effects
from ledger.records.wallets import Balance
from tests.ledger.core.entry_samples import funds_of

GUARD = Put(item={"PK": "GUARD", "SK": "1"})


def part_of(fact: Fact, funds: OrderFunds | None = None) -> PostingPart:
    entry = plan_entry(fact, funds, 0)
    assert isinstance(entry, JournalEntry)
    return PostingPart(entry, build_effects(fact, funds, 5), [GUARD])


def balances_of(*parts: PostingPart, used: bool = False) -> list[Balance]:
    names = dict.fromkeys(leg.account for part in parts for leg in wallet_legs(part.entry))
    return [Balance(account=name, v=3 if used else 0, seq=3 if used else 0) for name in names]


def test_escrow_has_no_balance_item() -> None:
    """The legs of a settlement that have a balance are all but the order's."""
    legs = wallet_legs(part_of(Settle("o1"), funds_of()).entry)
    assert {leg.account for leg in legs} == {"PLATFORM#COMMISSION.0", "RIDER#r", "VENDOR#v"}


def test_every_write_has_a_role() -> None:
    """A first top-up writes entry, guard, effect, line, both listings and both balances."""
    part = part_of(TopUp("u", 5, "momo", "p1"))
    draft = compose(part, balances_of(part), 5)
    kinds = [role.kind for role in draft.roles]
    assert sorted(kinds) == sorted(
        ["entry", "guard", "effect", "line", "listing", "listing", "balance", "balance"]
    )
    assert draft.writes[kinds.index("guard")] is GUARD
    assert [balance.posted for balance in draft.balances] == [-5, 5]


def test_the_draft_has_the_answer_of_its_entry_item() -> None:
    """What a caller is answered is what the stored entry would answer, but for the repetition."""
    part = part_of(TopUp("u", 5, "momo", "p1"))
    draft = compose(part, balances_of(part), 5)
    put = draft.writes[0]
    assert isinstance(put, Put)
    assert read_posted(put.item, replayed=False) == draft.entry_posted
    assert read_posted(put.item, replayed=True).is_replayed
    assert draft.entry_posted.lines["USER#u"].balance_after == 5


def test_a_batch_writes_each_balance_once() -> None:
    """Two settlements of one vendor are two lines, numbered on, and one update of the balance."""
    funds = [funds_of(order_id=order_id) for order_id in ("o1", "o2")]
    parts = [part_of(Settle(each.order_id), each) for each in funds]
    parts = [part._replace(guards=()) for part in parts]
    batch = compose_batch(parts, balances_of(*parts, used=True), 5)
    updates = [write for write in batch.writes if isinstance(write, Update)]
    vendor = [write for write in updates if write.key.pk == "WALLET#VENDOR#v"]
    assert len(vendor) == 1
    assert [posted.lines["VENDOR#v"].seq for posted in batch.posted] == [4, 5]
    assert len({key_of(write) for write in batch.writes}) == len(batch.writes)


def test_two_writes_to_one_item_are_an_error() -> None:
    """A guard on an item of the entry raises and names the item."""
    part = part_of(TopUp("u", 5, "momo", "p1"))
    doubled = part._replace(guards=[Put(item={"PK": "WALLET#USER#u", "SK": "BALANCE"})])
    with pytest.raises(ValueError, match="BALANCE"):
        compose(doubled, balances_of(part), 5)


def test_lines_do_not_go_back_in_time() -> None:
    """An entry has the time of its wallet's last line where the clock is behind it."""
    part = part_of(TopUp("u", 5, "momo", "p1"))
    later = [Balance(account=b.account, updated_at=900, v=1) for b in balances_of(part)]
    put = compose(part, later, 5).writes[0]
    assert isinstance(put, Put)
    assert put.item["recordedAt"] == 900
