"""The ledger's errors become those of the contract."""

import pytest

from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.money.ledger_errors import translate_ledger_errors
from ledger.core.facts import RejectionCode
from ledger.dynamodb.table import TableUnavailable
from ledger.posting.ledger import LedgerRefused


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        ("frozen", Refusal.FORBIDDEN),
        ("insufficient_funds", Refusal.INSUFFICIENT_FUNDS),
        ("not_found", Refusal.NOT_FOUND),
        ("conflict", Refusal.CONFLICT),
        ("wrong_state", Refusal.WRONG_STATE),
    ],
)
def test_a_refusal_keeps_its_code_and_message(code: RejectionCode, refusal: Refusal):
    """A frozen wallet is forbidden; every other code is one of the contract's."""
    with pytest.raises(Refused) as raised, translate_ledger_errors():
        raise LedgerRefused(code, "the reason")
    assert (raised.value.code, raised.value.message) == (refusal, "the reason")


def test_an_unavailable_table_is_an_unavailable_store():
    """What may be tried again says so."""
    with pytest.raises(StoreUnavailable), translate_ledger_errors():
        raise TableUnavailable("away")


def test_other_errors_pass():
    """A bug is not translated."""
    with pytest.raises(KeyError), translate_ledger_errors():
        raise KeyError("bug")
