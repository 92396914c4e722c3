"""Audit records: one per act, in the partition of its day, never overwritten."""

import pytest

from dispatch.events.audit_records import DAY_MS, audit_record
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query, TransactionCancelled

NOW_MS = 1_763_000_000_000


async def test_records_of_a_day_are_in_order(table: DynamoTable):
    """A day's records are listed by time, with action, operator and details."""
    for at_ms in (NOW_MS + 1, NOW_MS):
        record = audit_record("stop_promotion", "adm_1", {"code": "X", "reason": "fraud"}, at_ms)
        await table.transact([record])
    page = await table.query(Query(pk=f"AUDIT#{NOW_MS // DAY_MS}"))
    assert [item["at"] for item in page.items] == [NOW_MS, NOW_MS + 1]
    first = {name: page.items[0][name] for name in ("action", "by", "code", "reason")}
    assert first == {"action": "stop_promotion", "by": "adm_1", "code": "X", "reason": "fraud"}


async def test_record_is_not_overwritten(table: DynamoTable):
    """Writing the same record again fails."""
    record = audit_record("reassign", "adm_1", {}, NOW_MS)
    await table.transact([record])
    with pytest.raises(TransactionCancelled):
        await table.transact([record])


async def test_acts_of_one_moment_have_records_of_their_own(table: DynamoTable):
    """Two acts in the same millisecond are two records."""
    records = [audit_record("reassign", "adm_1", {}, NOW_MS) for _ in range(2)]
    await table.transact(records)
    assert len((await table.query(Query(pk=f"AUDIT#{NOW_MS // DAY_MS}"))).items) == 2
