"""Schema of the table: keys, indexes, TTL attribute, and creating it where it is missing."""

# The AWS libraries have no type stubs.
# pyright: reportMissingTypeStubs=false

import asyncio
from typing import Any

from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError

from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import TableUnavailable

INDEXES = ("GSI1", "GSI2", "GSI3", "GSI4")

# Attribute with the expiry; DynamoDB deletes such items some time later, so readers must check it.
TTL_ATTRIBUTE = "ttl"

_KEY_ATTRIBUTES = ("PK", "SK", *(f"{index}{part}" for index in INDEXES for part in ("PK", "SK")))


def _key_schema(prefix: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": f"{prefix}PK", "KeyType": "HASH"},
        {"AttributeName": f"{prefix}SK", "KeyType": "RANGE"},
    ]


# Parameters of CreateTable besides the name; the template in deploy/ says the same.
TABLE_DEFINITION: dict[str, Any] = {
    "KeySchema": _key_schema(""),
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": "S"} for name in _KEY_ATTRIBUTES
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": index,
            "KeySchema": _key_schema(index),
            "Projection": {"ProjectionType": "ALL"},
        }
        for index in INDEXES
    ],
    "BillingMode": "PAY_PER_REQUEST",
}

# A new table is active within seconds on AWS, at once on the embedded engine.
ACTIVE_WAIT_S = 60.0
POLL_S = 0.2


class SchemaMismatch(Exception):
    """The table exists, but with other keys or indexes."""


class TableMissing(Exception):
    """There is no table of this name."""


class AccessRefused(Exception):
    """DynamoDB refuses the credentials, or they do not allow describing the table."""


# Source: DynamoDB developer guide, error handling: errors that no retry cures.
_REFUSED_CODES = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)


async def ensure_table(table: DynamoTable) -> bool:
    """Create the table where it is missing and wait until it is active; True if it was missing.

    Errors: SchemaMismatch, AccessRefused; TableUnavailable if the table is not active in time.

    DynamoDB: DescribeTable, CreateTable, UpdateTimeToLive; may run in many processes at once.
    """
    found = await _describe(table)
    is_new = found is None
    if is_new:
        await _create(table)
    description = await _wait_until_active(table)
    _check_schema(table.name, description)
    await _ensure_ttl(table)
    return is_new


async def check_table(table: DynamoTable) -> None:
    """Check that the table exists, is active and has the right schema; it is never created.

    Errors: TableMissing, SchemaMismatch, AccessRefused; TableUnavailable where DynamoDB does not
    answer, or the table is not active in time.

    DynamoDB: DescribeTable.
    """
    if await _describe(table) is None:
        raise TableMissing(f"there is no table {table.name} at {table.client.meta.endpoint_url}")
    _check_schema(table.name, await _wait_until_active(table))


async def _describe(table: DynamoTable) -> dict[str, Any] | None:
    try:
        answer = await table.call_admin("describe_table")
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        if error.response["Error"]["Code"] in _REFUSED_CODES:
            raise AccessRefused(str(error)) from error
        raise
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AccessRefused(str(error)) from error
    return answer["Table"]


async def _create(table: DynamoTable) -> None:
    try:
        await table.call_admin("create_table", **TABLE_DEFINITION)
    except ClientError as error:
        # Another process created it meanwhile.
        if error.response["Error"]["Code"] != "ResourceInUseException":
            raise


async def _wait_until_active(table: DynamoTable) -> dict[str, Any]:
    try:
        async with asyncio.timeout(ACTIVE_WAIT_S):
            while True:
                description = await _describe(table)
                if description is not None and _is_active(description):
                    return description
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise TableUnavailable(f"{table.name} was not active after {ACTIVE_WAIT_S} s") from error


def _is_active(description: dict[str, Any]) -> bool:
    indexes = description.get("GlobalSecondaryIndexes", [])
    states = [description["TableStatus"], *(i.get("IndexStatus", "ACTIVE") for i in indexes)]
    return all(state == "ACTIVE" for state in states)


def _check_schema(name: str, description: dict[str, Any]) -> None:
    if description["KeySchema"] != TABLE_DEFINITION["KeySchema"]:
        raise SchemaMismatch(f"{name} has other keys: {description['KeySchema']}")
    existing = {i["IndexName"]: i for i in description.get("GlobalSecondaryIndexes", [])}
    for wanted in TABLE_DEFINITION["GlobalSecondaryIndexes"]:
        index = existing.get(wanted["IndexName"])
        if index is None:
            raise SchemaMismatch(f"{name} has no index {wanted['IndexName']}")
        for part in ("KeySchema", "Projection"):
            if index[part] != wanted[part]:
                raise SchemaMismatch(
                    f"{name}: {wanted['IndexName']} has another {part}: {index[part]}"
                )


async def _ensure_ttl(table: DynamoTable) -> None:
    answer = await table.call_admin("describe_time_to_live")
    state = answer.get("TimeToLiveDescription", {}).get("TimeToLiveStatus", "DISABLED")
    if state in {"ENABLED", "ENABLING"}:
        return
    specification = {"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
    await table.call_admin("update_time_to_live", TimeToLiveSpecification=specification)
