"""The table's schema: created once, checked afterwards."""

import asyncio
import uuid

import pytest
from botocore.exceptions import ClientError

from ledger.dynamodb.client import DynamoTable, open_table
from ledger.dynamodb.schema import (
    INDEXES,
    TABLE_DEFINITION,
    AccessRefused,
    SchemaMismatch,
    TableMissing,
    check_table,
    ensure_table,
)

pytestmark = pytest.mark.engines


async def test_an_existing_table_is_left_as_it_is(table: DynamoTable) -> None:
    """Ensuring a table a second time reports that it existed."""
    assert await ensure_table(table) is False


async def test_many_processes_may_create_the_table(dynamodb_endpoint: str) -> None:
    """Created by five at once, the table has its indexes and its TTL attribute."""
    name = f"t-{uuid.uuid4().hex}"
    async with open_table(dynamodb_endpoint, "eu-west-1", name) as fresh:
        assert any(await asyncio.gather(*(ensure_table(fresh) for _ in range(5))))
        description = (await fresh.call_admin("describe_table"))["Table"]
        assert {i["IndexName"] for i in description["GlobalSecondaryIndexes"]} == set(INDEXES)
        ttl = (await fresh.call_admin("describe_time_to_live"))["TimeToLiveDescription"]
        assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "ttl")
        await fresh.call_admin("delete_table")


async def test_a_table_with_another_schema_is_refused(dynamodb_endpoint: str) -> None:
    """A table of that name without the indexes is a SchemaMismatch that names the first one."""
    plain = {k: v for k, v in TABLE_DEFINITION.items() if k != "GlobalSecondaryIndexes"}
    plain["AttributeDefinitions"] = plain["AttributeDefinitions"][:2]
    async with open_table(dynamodb_endpoint, "eu-west-1", f"t-{uuid.uuid4().hex}") as other:
        await other.call_admin("create_table", **plain)
        with pytest.raises(SchemaMismatch, match="GSI1"):
            await ensure_table(other)
        await other.call_admin("delete_table")


async def test_a_missing_table_is_not_created(dynamodb_endpoint: str) -> None:
    """Checking a mistyped name reports it with the endpoint, and makes no table."""
    name = f"t-{uuid.uuid4().hex}"
    async with open_table(dynamodb_endpoint, "eu-west-1", name) as mistyped:
        for _ in range(2):
            with pytest.raises(TableMissing, match=f"no table {name} at {dynamodb_endpoint}"):
                await check_table(mistyped)


async def test_a_complete_table_passes_the_check(dynamodb_endpoint: str) -> None:
    """A table that `ensure_table` has made is accepted."""
    async with open_table(dynamodb_endpoint, "eu-west-1", f"t-{uuid.uuid4().hex}") as made:
        await ensure_table(made)
        await check_table(made)
        await made.call_admin("delete_table")


@pytest.mark.parametrize(
    "code", ["UnrecognizedClientException", "InvalidSignatureException", "AccessDeniedException"]
)
async def test_refused_credentials_are_named(code: str) -> None:
    """Keys that AWS does not know or does not allow are reported as such, with AWS's reason."""

    class RefusingClient:
        async def describe_table(self, **_request: object) -> None:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeTable")

    refusing = DynamoTable(RefusingClient(), "reeyo")
    for check in (check_table, ensure_table):
        with pytest.raises(AccessRefused, match=code):
            await check(refusing)
