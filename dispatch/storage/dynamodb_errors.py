"""The table as the stores of dispatch see it: what it cannot answer is StoreUnavailable."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dispatch.errors import StoreUnavailable
from ledger.dynamodb.table import (
    Item,
    Key,
    Page,
    Query,
    Table,
    TableUnavailable,
    Write,
)


class RetryableTable:
    """A Table whose callers may simply try again when it raises StoreUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def get(self, key: Key) -> Item | None:
        """One item, consistently read."""
        with translate_dynamodb_errors():
            return await self._table.get(key)

    async def get_many(self, keys: Sequence[Key]) -> list[Item | None]:
        """Several items in the order of `keys`; each consistent by itself."""
        with translate_dynamodb_errors():
            return await self._table.get_many(keys)

    async def query(self, query: Query) -> Page:
        """One page of a partition or index.

        Errors: ValueError for a cursor that was made for another list.
        """
        with translate_dynamodb_errors():
            return await self._table.query(query)

    async def transact(self, writes: Sequence[Write]) -> None:
        """All writes or none.

        Errors: TransactionCancelled where a condition failed.
        """
        with translate_dynamodb_errors():
            await self._table.transact(writes)


@contextmanager
def translate_dynamodb_errors() -> Iterator[None]:
    """Turn TableUnavailable into StoreUnavailable."""
    try:
        yield
    except TableUnavailable as error:
        raise StoreUnavailable("dynamodb", str(error)) from error
