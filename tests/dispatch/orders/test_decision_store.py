"""Stored decisions: the first ten stay, the last ten replace one another."""

import pytest

from dispatch.ids import OrderId
from dispatch.model import Decision
from dispatch.orders.decision_store import STORED_MAX, DecisionStore, slot_of, write_decision
from ledger.dynamodb.client import DynamoTable

ORDER = OrderId("ord_1")


def a_decision(number: int, looks: int = 1) -> Decision:
    return Decision(at_ms=number, wave=1, radius_km=1.5, looks=looks)


def test_the_last_ten_slots_are_a_ring():
    """The twenty-first decision takes the slot of the eleventh."""
    assert [slot_of(number) for number in (0, 9, 10, 19, 20, 29, 30)] == [
        0, 9, 10, 19, 10, 19, 10,
    ]  # fmt: skip


@pytest.mark.engines
async def test_the_first_and_the_last_ten_are_kept(table: DynamoTable):
    """Oldest first, with their numbers."""
    for number in range(35):
        await table.transact([write_decision(ORDER, number, a_decision(number))])
    stored = await DecisionStore(table).list_for(ORDER)

    assert [number for number, _ in stored] == [*range(10), *range(25, 35)]
    assert len(stored) == STORED_MAX
    assert [decision.at_ms for _, decision in stored] == [number for number, _ in stored]


@pytest.mark.engines
async def test_a_decision_is_overwritten_under_its_number(table: DynamoTable):
    """Further searches that come to the same change its count."""
    store = DecisionStore(table)
    await store.put(ORDER, 0, a_decision(1))
    await store.put(ORDER, 0, a_decision(1, looks=6))

    assert await store.list_for(ORDER) == [(0, a_decision(1, looks=6))]
    assert await store.list_for("ord_2") == []
