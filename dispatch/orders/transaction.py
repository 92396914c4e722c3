"""Transaction of an order: conditional writes that each carry what their failure means."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from dispatch.errors import Refusal, Refused, StoreUnavailable
from ledger.core.facts import Fact
from ledger.core.order_funds import OrderFunds
from ledger.dynamodb.table import (
    Item,
    Table,
    TableUnavailable,
    TransactionCancelled,
    Write,
)
from ledger.posting.errors import GuardFailed, LedgerRefused
from ledger.posting.ledger import Ledger

_LEDGER_REFUSALS = {
    "insufficient_funds": Refusal.INSUFFICIENT_FUNDS,
    "frozen": Refusal.FORBIDDEN,
    "conflict": Refusal.CONFLICT,
    "wrong_state": Refusal.WRONG_STATE,
    "not_found": Refusal.NOT_FOUND,
}


class StaleOrder(Exception):
    """The order has changed since it was read."""


class ConditionalWrite(NamedTuple):
    """A write, and the error that a failure of its condition means.

    `error` gets the item that was found instead, None where there was none.
    """

    write: Write
    error: Callable[[Item | None], Exception]


class OrderTransactions:
    """Sends transactions, through the ledger where money moves."""

    def __init__(self, table: Table, ledger: Ledger) -> None:
        self._table = table
        self._ledger = ledger

    async def commit(
        self,
        writes: Sequence[ConditionalWrite],
        fact: Fact | None = None,
        expected_funds: OrderFunds | None = None,
    ) -> None:
        """Send all writes or none, together with posting `fact`.

        Errors: the error of the first write whose condition failed; StaleOrder where the fact was
        posted before; Refused by the ledger; StoreUnavailable.
        DynamoDB: one TransactWriteItems; for a fact also the reads of `Ledger.post`.
        """
        plain_writes = [each.write for each in writes]
        try:
            if fact is None:
                await self._table.transact(plain_writes)
                return
            posted = await self._ledger.post(fact, plain_writes, expected_funds)
        except TransactionCancelled as cancelled:
            failed = cancelled.failed_positions()[0]
            raise writes[failed].error(cancelled.reasons[failed].item) from cancelled
        except GuardFailed as guard:
            raise writes[guard.position].error(guard.item) from guard
        except LedgerRefused as refused:
            raise Refused(_LEDGER_REFUSALS[refused.code], refused.message) from refused
        except TableUnavailable as error:
            raise StoreUnavailable("dynamodb", str(error)) from error
        if posted.is_replayed:
            # Another caller posted this very fact, with its own write of the order beside it.
            raise StaleOrder
