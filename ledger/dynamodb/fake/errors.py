"""Errors in the shape in which botocore raises them."""

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
    """A request, or one write of a transaction, that DynamoDB would not carry out; says why."""


class TableNotFound(Exception):
    """A table that is not there."""


def refuse_unsupported(body: Mapping[str, Any], supported: frozenset[str]) -> None:
    """Refuse a request that asks for what the fake does not do.

    Errors: Wrong.
    """
    for name in sorted(body.keys() - supported):
        raise InvalidRequest(f"the fake knows no parameter {name}")


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
    """Why one write of a transaction stood in the way."""
    told: dict[str, Any] = {"Code": code, "Message": message or _MESSAGES[code]}
    return told if item is None else {**told, "Item": item}


def transaction_cancelled(reasons: Sequence[dict[str, Any] | None], operation: str) -> ClientError:
    """A transaction that was not carried out; `reasons` stand in the order of its parts."""
    told = [{"Code": "None"} if each is None else each for each in reasons]
    codes = ", ".join(each["Code"] for each in told)
    return error_response(
        "TransactionCanceledException",
        f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
        operation,
        CancellationReasons=told,
    )


def connection_closed() -> ConnectionClosedError:
    """No answer: the connection is gone."""
    return ConnectionClosedError(endpoint_url="fake://dynamodb")
