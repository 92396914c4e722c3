"""Errors of posting a fact."""

from ledger.core.facts import RejectionCode
from ledger.dynamodb.table import Item


class LedgerRefused(Exception):
    """The fact cannot be posted in the current state; nothing was written."""

    def __init__(self, code: RejectionCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class GuardFailed(Exception):
    """The condition of a caller's write failed; nothing was written.

    `position` is that of the guard, `item` the item that was found.
    """

    def __init__(self, position: int, item: Item | None) -> None:
        super().__init__(position)
        self.position = position
        self.item = item
