"""Audit records: one per act, in the partition of its day, never overwritten."""

import pytest

from dispatch.events.audit_records import (
    DAY_MS,
    OperatorAct,
    action_index,
    actor_index,
    all_acts_index,
    audit_record,
    resource_index,
)
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query, TransactionCancelled

NOW_MS = 1_763_000_000_000
ACT = OperatorAct(
    action="stop_promotion",
    actor="adm_1",
    resource="promotion:X",
    reason="fraud",
    details={"spent": 5},
)


async def test_records_of_a_day_are_in_order(table: DynamoTable):
    """A day's records are listed by time, with all fields of the act."""
    for at_ms in (NOW_MS + 1, NOW_MS):
        await table.transact([audit_record(ACT, at_ms)])
    page = await table.query(Query(pk=f"AUDIT#{NOW_MS // DAY_MS}"))
    assert [item["at"] for item in page.items] == [NOW_MS, NOW_MS + 1]
    first = {name: page.items[0][name] for name in ("action", "actor", "resource", "reason")}
    assert first == {
        "action": "stop_promotion",
        "actor": "adm_1",
        "resource": "promotion:X",
        "reason": "fraud",
    }
    assert page.items[0]["details"] == {"spent": 5}


@pytest.mark.parametrize(
    "index",
    [
        actor_index("adm_1"),
        action_index("stop_promotion"),
        resource_index("promotion:X"),
        all_acts_index(),
    ],
    ids=lambda index: index.name,
)
async def test_records_are_listed_in_every_index(table: DynamoTable, index):
    """A record is found by its actor, its action, its resource, and among all."""
    await table.transact([audit_record(ACT, NOW_MS)])
    page = await table.query(Query(pk=index.pk, index=index.name))
    assert [item["at"] for item in page.items] == [NOW_MS]


async def test_record_is_not_overwritten(table: DynamoTable):
    """Writing the same record again fails."""
    record = audit_record(ACT, NOW_MS)
    await table.transact([record])
    with pytest.raises(TransactionCancelled):
        await table.transact([record])


async def test_acts_of_one_moment_have_records_of_their_own(table: DynamoTable):
    """Two acts in the same millisecond are two records."""
    await table.transact([audit_record(ACT, NOW_MS) for _ in range(2)])
    assert len((await table.query(Query(pk=f"AUDIT#{NOW_MS // DAY_MS}"))).items) == 2
