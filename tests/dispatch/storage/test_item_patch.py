"""Item patches: the named fields change, and nothing else."""

import msgspec
import pytest

from dispatch.storage.item_patch import given_fields, set_fields
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Key, Put, TransactionCancelled

KEY = Key("VENDOR#ven_1", "PROFILE")


class Patch(msgspec.Struct, rename="camel"):
    """A patch of two optional fields."""

    prep_minutes: int | None = None
    name: str | None = None


def test_only_given_fields_are_named():
    """Fields without a value are left out; the others have their wire names, zero included."""
    assert given_fields(Patch(prep_minutes=0)) == {"prepMinutes": 0}
    assert given_fields(Patch()) == {}


async def test_update_leaves_other_fields(table: DynamoTable):
    """An update changes the given fields, also those named like DynamoDB's reserved words."""
    await table.transact([Put(item={"PK": KEY.pk, "SK": KEY.sk, "phone": "+237", "name": "old"})])
    await table.transact([set_fields(KEY, {"name": "Chez Ada", "status": "open"})])
    item = await table.get(KEY)
    assert item == {
        "PK": KEY.pk,
        "SK": KEY.sk,
        "phone": "+237",
        "name": "Chez Ada",
        "status": "open",
    }


async def test_update_makes_a_missing_item(table: DynamoTable):
    """An update without a condition creates the item."""
    await table.transact([set_fields(KEY, {"name": "Chez Ada"})])
    item = await table.get(KEY)
    assert item is not None
    assert item["name"] == "Chez Ada"


async def test_failed_condition_changes_nothing(table: DynamoTable):
    """An update whose condition does not hold is cancelled."""
    with pytest.raises(TransactionCancelled):
        await table.transact([set_fields(KEY, {"name": "x"}, "attribute_exists(PK)")])
    assert await table.get(KEY) is None


def test_empty_update_is_a_bug():
    """An update without fields is refused."""
    with pytest.raises(AssertionError):
        set_fields(KEY, {})
