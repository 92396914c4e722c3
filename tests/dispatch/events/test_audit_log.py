"""Audit log: filters, times, pages, and how much one call reads."""

import pytest

from dispatch.errors import Refused
from dispatch.events.audit_log import RECORDS_READ_MAX, AuditFilter, AuditLog
from dispatch.events.audit_records import DAY_MS, OperatorAct, audit_record
from dispatch.storage.paging import PageRequest
from ledger.dynamodb.client import DynamoTable

NOW_MS = 1_763_000_000_000
# One act a day, by turns of two operators, two actions and three orders.
ACTS = [
    OperatorAct(
        action=("refund_order", "reassign")[number // 2 % 2],
        actor=("adm_1", "adm_2")[number % 2],
        resource=f"order:ord_{number % 3}",
        reason=f"reason {number}",
    )
    for number in range(12)
]


@pytest.fixture
async def log(table: DynamoTable) -> AuditLog:
    """A log of all ACTS, the first one at NOW_MS."""
    for number, act in enumerate(ACTS):
        await table.transact([audit_record(act, NOW_MS + number * DAY_MS)])
    return AuditLog(table)


async def numbers(log: AuditLog, wanted: AuditFilter, limit: int = 100) -> list[int]:
    """The acts that match, by their number, read page by page."""
    found: list[int] = []
    cursor: str | None = None
    while True:
        records, cursor = await log.list_records(wanted, PageRequest(limit, cursor))
        assert len(records) <= limit
        found += [(record.at - NOW_MS) // DAY_MS for record in records]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
@pytest.mark.parametrize(
    "wanted",
    [
        AuditFilter(),
        AuditFilter(actor="adm_2"),
        AuditFilter(action="reassign"),
        AuditFilter(resource="order:ord_1"),
        AuditFilter(actor="adm_1", action="reassign"),
        AuditFilter(actor="adm_1", action="reassign", resource="order:ord_2"),
        AuditFilter(from_ms=NOW_MS + 3 * DAY_MS),
        AuditFilter(to_ms=NOW_MS + 5 * DAY_MS),
        AuditFilter(from_ms=NOW_MS + 3 * DAY_MS + 1, to_ms=NOW_MS + 9 * DAY_MS - 1),
        AuditFilter(actor="adm_2", from_ms=NOW_MS + 4 * DAY_MS, to_ms=NOW_MS + 7 * DAY_MS),
        AuditFilter(from_ms=NOW_MS + 20 * DAY_MS),
        AuditFilter(to_ms=NOW_MS - 1),
        AuditFilter(actor="nobody"),
    ],
)
async def test_a_filter_lists_what_matches_newest_first(
    log: AuditLog, wanted: AuditFilter, limit: int
):
    """Each act that matches all given values is listed once, whatever the page's size."""
    matching = [
        number
        for number, act in enumerate(ACTS)
        if wanted.matches({"actor": act.actor, "action": act.action, "resource": act.resource})
        and wanted.from_ms <= NOW_MS + number * DAY_MS <= (wanted.to_ms or NOW_MS + 99 * DAY_MS)
    ]
    assert await numbers(log, wanted, limit) == matching[::-1]


async def test_a_record_has_every_field(log: AuditLog):
    """Actor, action, resource, reason, time and details are read as they were written."""
    [record], _ = await log.list_records(AuditFilter(), PageRequest(1))
    act = ACTS[-1]
    assert (record.actor, record.action, record.resource) == (act.actor, act.action, act.resource)
    assert (record.reason, record.details) == (act.reason, {})
    assert record.audit_id.startswith("aud_")


async def test_what_one_call_reads_is_bounded(table: DynamoTable):
    """Where few records match, a page ends early, and its cursor leads to the rest."""
    wanted = OperatorAct(action="reassign", actor="adm_1", resource="order:ord_1")
    other = OperatorAct(action="refund_order", actor="adm_1", resource="order:ord_1")
    await table.transact([audit_record(wanted, NOW_MS)])
    for start in range(0, RECORDS_READ_MAX, 100):
        at_ms = NOW_MS + 1 + start
        await table.transact([audit_record(other, at_ms + number) for number in range(100)])
    log, reassigned = AuditLog(table), AuditFilter(actor="adm_1", action="reassign")
    first, cursor = await log.list_records(reassigned, PageRequest(10))
    second, end = await log.list_records(reassigned, PageRequest(10, cursor))

    assert (first, len(second), end) == ([], 1, None)
    assert cursor is not None


@pytest.mark.parametrize("cursor", ["x", "²", "0.", "WyJhIl0", "W10", "bnVsbA", "é" * 40])
async def test_a_foreign_cursor_is_malformed(log: AuditLog, cursor: str):
    """A cursor that this list did not give is refused."""
    with pytest.raises(Refused, match="malformed"):
        await log.list_records(AuditFilter(), PageRequest(10, cursor))


async def test_a_cursor_of_another_filter_is_malformed(log: AuditLog):
    """A cursor belongs to the actor, action or resource that it was given for."""
    _, cursor = await log.list_records(AuditFilter(actor="adm_1"), PageRequest(1))
    with pytest.raises(Refused, match="malformed"):
        await log.list_records(AuditFilter(actor="adm_2"), PageRequest(1, cursor))
