"""Acks: the envelope of an answer says whether it may be tried again."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.wire import acks


def test_a_result_is_wrapped():
    """A command that was carried out is answered with its data."""
    assert acks.accepted({"available": True}) == {"ok": True, "data": {"available": True}}


@pytest.mark.parametrize("code", list(Refusal))
def test_only_an_unavailable_store_is_retryable(code: Refusal):
    """Every refusal carries code, message and whether a repeat may succeed."""
    ack = acks.refused(Refused(code, "why"))

    assert ack["ok"] is False
    assert (ack["error"]["code"], ack["error"]["message"]) == (code.value, "why")
    assert ack["error"]["retryable"] is code.is_retryable


def test_details_are_left_out_where_there_are_none():
    """`details` stands in the error only when the refusal has some."""
    assert "details" not in acks.refused(Refused(Refusal.MALFORMED, "why"))["error"]
    detailed = acks.refused(Refused(Refusal.MALFORMED, "why", {"drop": "off_globe"}))
    assert detailed["error"]["details"] == {"drop": "off_globe"}
