"""Audit log: reads audit records, newest first, by actor, action, resource and time."""

import msgspec

from dispatch.events.audit_records import (
    DAY_MS,
    AuditIndex,
    action_index,
    actor_index,
    all_acts_index,
    resource_index,
)
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.paging import PageRequest, wrong_cursor
from ledger.dynamodb.cursors import write_cursor
from ledger.dynamodb.table import Item, Page, Query, Table, time_sort_key

# Records that one call reads at most, in queries of at most so many. Source: chosen; a record is
# about 1 KB, so that a call costs at most 1 MB of reads.
RECORDS_READ_MAX = 1_000
QUERY_RECORDS = 100


class AuditFilter(msgspec.Struct, frozen=True):
    """Which records are wanted; None matches all. Units: Unix milliseconds, both ends included."""

    actor: str | None = None
    action: str | None = None
    resource: str | None = None
    from_ms: int = 0
    to_ms: int | None = None

    @property
    def index(self) -> AuditIndex:
        """The index with the fewest records to read."""
        if self.resource is not None:
            return resource_index(self.resource)
        if self.actor is not None:
            return actor_index(self.actor)
        return all_acts_index() if self.action is None else action_index(self.action)

    def matches(self, item: Item) -> bool:
        """Whether a record is wanted, its time apart."""
        wanted = {"actor": self.actor, "action": self.action, "resource": self.resource}
        return all(value is None or item[name] == value for name, value in wanted.items())


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One audit record as operators see it. Units: Unix milliseconds."""

    audit_id: str
    at: int
    actor: str
    action: str
    resource: str
    reason: str | None = None
    details: dict[str, object] = {}


class AuditLog:
    """Lists audit records."""

    def __init__(self, table: Table) -> None:
        self._table = RetryableTable(table)

    async def list_records(
        self, wanted: AuditFilter, page: PageRequest
    ) -> tuple[list[AuditRecord], str | None]:
        """One page of the wanted records, newest first, and the next page's cursor.

        A page may be short, and even empty, while the cursor leads on: what one call reads is
        bounded.

        Errors: Refused MALFORMED for a cursor of another list; StoreUnavailable.
        DynamoDB: Query of one index, at most ten; the index may lag by a moment.
        """
        query = _first_query(wanted, page)
        found: list[Item] = []
        for _ in range(RECORDS_READ_MAX // QUERY_RECORDS):
            fetched = await self._query(query)
            for item in fetched.items:
                if item["at"] < wanted.from_ms:
                    return _records(found), None
                if wanted.matches(item):
                    if len(found) == page.limit:
                        return _records(found), write_cursor(query, found[-1])
                    found.append(item)
            if fetched.cursor is None:
                return _records(found), None
            query = msgspec.structs.replace(query, cursor=fetched.cursor)
        return _records(found), query.cursor

    async def _query(self, query: Query) -> Page:
        try:
            return await self._table.query(query)
        except ValueError as error:
            raise wrong_cursor() from error


def _first_query(wanted: AuditFilter, page: PageRequest) -> Query:
    """The query of the page's first records: after the cursor's record, or from `to_ms` back."""
    index = wanted.index
    query = Query(pk=index.pk, index=index.name, limit=QUERY_RECORDS, forward=False)
    if page.cursor is not None:
        return msgspec.structs.replace(query, cursor=page.cursor)
    if wanted.to_ms is None:
        return query
    # Behind every record of `to_ms`, and before those of the next millisecond.
    sort_key = time_sort_key(wanted.to_ms + 1, "")
    start = {
        f"{index.name}PK": index.pk,
        f"{index.name}SK": sort_key,
        "PK": f"AUDIT#{wanted.to_ms // DAY_MS}",
        "SK": sort_key,
    }
    return msgspec.structs.replace(query, cursor=write_cursor(query, start))


def _records(items: list[Item]) -> list[AuditRecord]:
    return [msgspec.convert(item, AuditRecord) for item in items]
