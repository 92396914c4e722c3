"""DynamoDB errors translated for the stores: an unavailable table raises StoreUnavailable."""

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
    """The table with StoreUnavailable in place of TableUnavailable; other errors pass unchanged."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def get(self, key: Key) -> Item | None:
        """One item, read consistently, None where there is none.

        DynamoDB: GetItem.
        """
        with translate_dynamodb_errors():
            return await self._table.get(key)

    async def get_many(self, keys: Sequence[Key]) -> list[Item | None]:
        """Several items in the order of `keys`, each read consistently by itself.

        DynamoDB: BatchGetItem.
        """
        with translate_dynamodb_errors():
            return await self._table.get_many(keys)

    async def query(self, query: Query) -> Page:
        """One page of a partition or index.

        DynamoDB: Query.
        Errors: ValueError for a cursor of another list.
        """
        with translate_dynamodb_errors():
            return await self._table.query(query)

    async def transact(self, writes: Sequence[Write]) -> None:
        """Carry out all writes or none.

        DynamoDB: TransactWriteItems.
        Errors: TransactionCancelled where a condition failed.
        """
        with translate_dynamodb_errors():
            await self._table.transact(writes)


@contextmanager
def translate_dynamodb_errors() -> Iterator[None]:
    """Raise StoreUnavailable in place of TableUnavailable."""
    try:
        yield
    except TableUnavailable as error:
        raise StoreUnavailable("dynamodb", str(error)) from error
