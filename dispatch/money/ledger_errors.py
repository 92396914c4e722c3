"""Ledger errors: translates the ledger's refusals and outages to those of the contract."""

from collections.abc import Iterator
from contextlib import contextmanager

from dispatch.errors import Refusal, Refused
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from ledger.posting.errors import LedgerRefused


@contextmanager
def translate_ledger_errors() -> Iterator[None]:
    """Turn LedgerRefused into Refused, and TableUnavailable into StoreUnavailable.

    Errors: Refused, StoreUnavailable.
    """
    try:
        with translate_dynamodb_errors():
            yield
    except LedgerRefused as refused:
        # All other codes of the ledger are codes of docs/contract.md.
        code = Refusal.FORBIDDEN if refused.code == "frozen" else Refusal(refused.code)
        raise Refused(code, refused.message) from refused
