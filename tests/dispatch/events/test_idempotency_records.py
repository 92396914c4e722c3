"""Idempotency records: a repeat gets the first answer, another body under the name a refusal."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import (
    RECORD_TTL_S,
    IdempotencyRecords,
    request_key,
    write_record,
)
from dispatch.wire.commands import AcceptOrder
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import TransactionCancelled

NOW_MS = 1_763_000_000_000
KEY = request_key("user:usr_1", "cmd_1", b"body")


async def test_new_request_has_no_answer(table: DynamoTable):
    """Without a record, and without a key, there is no first answer."""
    records = IdempotencyRecords(table)
    assert await records.find(KEY) is None
    assert await records.find(None) is None


async def test_repeat_gets_the_first_answer(table: DynamoTable):
    """The stored answer is found, also of another caller's process."""
    await table.transact([write_record(KEY, {"orderId": "ord_1"}, NOW_MS)])
    same = request_key("user:usr_1", "cmd_1", b"body")
    assert await IdempotencyRecords(table).find(same) == {"orderId": "ord_1"}


async def test_another_body_under_the_name_conflicts(table: DynamoTable):
    """The same name with another body is refused as a conflict."""
    await table.transact([write_record(KEY, {}, NOW_MS)])
    other = request_key("user:usr_1", "cmd_1", b"another body")
    with pytest.raises(Refused) as refused:
        await IdempotencyRecords(table).find(other)
    assert refused.value.code is Refusal.CONFLICT


async def test_names_of_callers_are_separate(table: DynamoTable):
    """Another caller may use the same name."""
    await table.transact([write_record(KEY, {}, NOW_MS)])
    assert await IdempotencyRecords(table).find(request_key("user:usr_2", "cmd_1", b"")) is None


async def test_second_record_fails(table: DynamoTable):
    """Of two writes of a record the second is cancelled, with its transaction."""
    await table.transact([write_record(KEY, {"n": 1}, NOW_MS)])
    with pytest.raises(TransactionCancelled):
        await table.transact([write_record(KEY, {"n": 2}, NOW_MS)])
    assert await IdempotencyRecords(table).find(KEY) == {"n": 1}


async def test_record_expires(table: DynamoTable):
    """DynamoDB may delete the record after two days."""
    await table.transact([write_record(KEY, {}, NOW_MS)])
    item = await table.get(KEY.record_key)
    assert item is not None
    assert item["ttl"] == NOW_MS // 1000 + RECORD_TTL_S


def test_key_depends_on_the_content():
    """Equal structs have equal keys, and any changed field another one."""
    first = request_key("vendor:ven_1", "cmd_1", AcceptOrder(order_id="ord_1"))
    assert first == request_key("vendor:ven_1", "cmd_1", AcceptOrder(order_id="ord_1"))
    assert first != request_key("vendor:ven_1", "cmd_1", AcceptOrder(order_id="ord_2"))
