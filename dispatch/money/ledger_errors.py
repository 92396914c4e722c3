"""What the ledger refuses, in the words of the contract."""

from collections.abc import Iterator
from contextlib import contextmanager

from dispatch.errors import Refusal, Refused
from dispatch.storage.dynamodb_errors import answering
from ledger.posting.ledger import LedgerRefused


@contextmanager
def in_our_words() -> Iterator[None]:
    """Turn what the ledger refuses, or cannot answer, into what a caller is told."""
    try:
        with answering():
            yield
    except LedgerRefused as refused:
        # All other codes of the ledger are codes of the contract.
        code = Refusal.FORBIDDEN if refused.code == "frozen" else Refusal(refused.code)
        raise Refused(code, refused.message) from refused
