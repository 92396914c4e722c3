"""Errors of the fake, as botocore raises them."""

# The AWS libraries have no type stubs.
# pyright: reportMissingTypeStubs=false

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError

# Source: DynamoDB API reference, TransactWriteItems, CancellationReasons.
_MESSAGES = {
    "ConditionalCheckFailed": "The conditional request failed",
    "TransactionConflict": "Transaction is ongoing for the item",
    "ThrottlingError": "Throughput exceeds the current capacity of your table or index",
    "ValidationError": "One or more parameter values were invalid",
}
_STATUS = {"InternalServerError": 500}


class InvalidRequest(Exception):
    """A request, or one write of a transaction, that DynamoDB would refuse; says why."""


class TableNotFound(Exception):
    """The table does not exist."""


def refuse_unsupported(body: Mapping[str, Any], supported: frozenset[str]) -> None:
    """Refuse a request with parameters that the fake does not support.

    Errors: InvalidRequest.
    """
    for name in sorted(body.keys() - supported):
        raise InvalidRequest(f"the fake does not support the parameter {name}")


def error_response(code: str, message: str, operation: str = "", **extra: Any) -> ClientError:
    """An error answer."""
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": _STATUS.get(code, 400)},
        **extra,
    }
    return ClientError(answer, operation)


def cancel_reason(
    code: str, item: dict[str, Any] | None = None, message: str = ""
) -> dict[str, Any]:
    """Cancellation reason of one write of a transaction."""
    reason: dict[str, Any] = {"Code": code, "Message": message or _MESSAGES[code]}
    return reason if item is None else {**reason, "Item": item}


def transaction_cancelled(reasons: Sequence[dict[str, Any] | None], operation: str) -> ClientError:
    """Error of a cancelled transaction; `reasons` are in the order of its parts."""
    complete = [{"Code": "None"} if each is None else each for each in reasons]
    codes = ", ".join(each["Code"] for each in complete)
    return error_response(
        "TransactionCanceledException",
        f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
        operation,
        CancellationReasons=complete,
    )


def connection_closed() -> ConnectionClosedError:
    """Error of a call without an answer: the connection was closed."""
    return ConnectionClosedError(endpoint_url="fake://dynamodb")
