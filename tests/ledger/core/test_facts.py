"""Facts: one key for each fact."""

from collections.abc import Iterator

from ledger.core.facts import (
    Adjustment,
    Capture,
    Fact,
    Netting,
    PartialRefund,
    PayoutPaid,
    PayoutPaidLate,
    PayoutReturned,
    Refund,
    Remittance,
    Settle,
    Tip,
    TopUp,
    entry_key,
    paid_entry_key,
)
from tests.ledger.core.entry_samples import FOOD_PRICING


def facts_of(name: str) -> Iterator[Fact]:
    """One fact of each kind, with an id that contains the name."""
    yield TopUp("u", 1, "momo", name)
    yield Capture(name, "u", "v", "WALLET", FOOD_PRICING)
    yield Settle(name)
    yield Refund(name, "closed")
    yield PartialRefund(name, "r", 1, "cold")
    yield PartialRefund("o", name, 1, "cold")
    yield Tip(name, "t", "u", 1)
    yield Tip("o", name, "u", 1)
    yield Remittance("r", name, 1, "cashdesk")
    yield Netting(name, "RIDER", "r", 1, 0)
    yield Adjustment(name, (), "lost", "adm_1", "adm_2")
    yield PayoutPaid(name, "RIDER", "r", 1, "momo")
    yield PayoutReturned(name, "RIDER", "r", 1, "momo", "unknown")


def test_every_fact_has_a_key_of_its_own() -> None:
    """Facts of different kinds or ids never share a key."""
    facts = [*facts_of("x"), *facts_of("y")]
    assert len({entry_key(fact) for fact in facts}) == len(facts)


def test_every_entry_sorts_under_its_prefix() -> None:
    """Each key's sort key starts with JE#, by which entries are found in a partition."""
    assert all(entry_key(fact).sk.startswith("JE#") for fact in facts_of("x"))


def test_the_key_of_a_paid_payout_is_that_of_its_fact() -> None:
    """The audit looks for the entry where posting puts it, whenever it was paid."""
    fields = ("p1", "RIDER", "r", 1, "momo")
    assert paid_entry_key("p1") == entry_key(PayoutPaid(*fields))
    assert paid_entry_key("p1") == entry_key(PayoutPaidLate(*fields))
