"""What the ledger refuses, in the words of the contract."""

from collections.abc import Iterator
from contextlib import contextmanager

from dispatch.errors import Refusal, Refused
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from ledger.posting.ledger import LedgerRefused


@contextmanager
def translate_ledger_errors() -> Iterator[None]:
    """Turn what the ledger refuses, or cannot answer, into what a caller is told."""
    try:
        with translate_dynamodb_errors():
            yield
    except LedgerRefused as refused:
        # All other codes of the ledger are codes of the contract.
        code = Refusal.FORBIDDEN if refused.code == "frozen" else Refusal(refused.code)
        raise Refused(code, refused.message) from refused
