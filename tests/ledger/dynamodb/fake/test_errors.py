"""Errors of the fake in botocore's form."""

from typing import Any

import pytest

from ledger.dynamodb.fake.errors import (
    InvalidRequest,
    cancel_reason,
    connection_closed,
    error_response,
    refuse_unsupported,
    transaction_cancelled,
)


def test_an_error_has_its_code_message_and_status() -> None:
    """Client errors have status 400, internal errors 500."""
    found: list[Any] = [
        error_response(code, "no", "get_item").response
        for code in ("ValidationException", "InternalServerError")
    ]
    assert [each["Error"]["Code"] for each in found] == [
        "ValidationException",
        "InternalServerError",
    ]
    assert [each["ResponseMetadata"]["HTTPStatusCode"] for each in found] == [400, 500]


def test_a_cancelled_transaction_has_a_reason_for_each_part() -> None:
    """Parts that did not fail have the code None; the item that was found is kept."""
    item = {"n": {"N": "1"}}
    reasons = [None, cancel_reason("ConditionalCheckFailed", item)]
    answer: Any = transaction_cancelled(reasons, "transact_write_items").response
    codes = [(each["Code"], each.get("Item")) for each in answer["CancellationReasons"]]
    assert codes == [("None", None), ("ConditionalCheckFailed", item)]
    assert "[None, ConditionalCheckFailed]" in answer["Error"]["Message"]


def test_unsupported_parameters_are_refused() -> None:
    """A parameter that the fake does not know raises and is named."""
    refuse_unsupported({"Key": {}}, frozenset({"Key"}))
    with pytest.raises(InvalidRequest, match="ReturnConsumedCapacity"):
        refuse_unsupported({"Key": {}, "ReturnConsumedCapacity": "TOTAL"}, frozenset({"Key"}))


def test_a_lost_connection_is_botocores_error() -> None:
    """It is the error that the table counts as unanswered."""
    assert "fake://dynamodb" in str(connection_closed())
