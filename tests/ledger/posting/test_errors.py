"""Errors of posting."""

from ledger.posting.errors import GuardFailed, LedgerRefused


def test_a_refusal_has_a_code_and_a_message() -> None:
    """Code and message are attributes, and both are in the text."""
    error = LedgerRefused("frozen", "USER#u is FROZEN")
    assert (error.code, error.message) == ("frozen", "USER#u is FROZEN")
    assert str(error) == "frozen: USER#u is FROZEN"


def test_a_failed_guard_has_its_position_and_item() -> None:
    """The caller's write is named by its position, with the item that was found."""
    error = GuardFailed(2, {"n": 1})
    assert (error.position, error.item) == (2, {"n": 1})
