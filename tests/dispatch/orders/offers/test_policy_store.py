"""Offer policies: defaults, changes with their audit records, and what is refused."""

import asyncio
from typing import Any

import msgspec
import pytest

from dispatch.clock import ManualClock
from dispatch.errors import Refusal, Refused
from dispatch.events.audit_records import DAY_MS
from dispatch.model import OfferPolicy
from dispatch.orders.offers.policy_store import OfferPolicyStore, VersionedPolicy
from dispatch.wire.http.offer_policy import OfferSettings
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query

pytestmark = pytest.mark.engines


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the store."""
    return ManualClock()


@pytest.fixture
def policies(table: DynamoTable, clock: ManualClock) -> OfferPolicyStore:
    """The policies of one zone."""
    return OfferPolicyStore(table, clock, "douala")


async def test_a_zone_begins_with_the_default_policy(policies: OfferPolicyStore):
    """At version 0."""
    assert await policies.get_versioned("FOOD") == VersionedPolicy(OfferPolicy(), 0)


async def test_a_change_keeps_what_it_does_not_name(policies: OfferPolicyStore):
    """It holds for its service alone, at once on the node that made it."""
    await policies.put_offers("FOOD", OfferSettings(window_ms=20_000), "adm_1")
    changed = await policies.put_offers("FOOD", OfferSettings(mode="auto"), "adm_1")

    assert changed == VersionedPolicy(OfferPolicy(window_ms=20_000, mode="auto"), 2)
    assert await policies.get_versioned("FOOD") == changed
    assert await policies.get("MART") == OfferPolicy()


async def test_another_node_has_a_change_within_a_second(
    policies: OfferPolicyStore, table: DynamoTable, clock: ManualClock
):
    """It reads again when its copy is a second old."""
    other = OfferPolicyStore(table, clock, "douala")
    await other.get("FOOD")
    await policies.put_offers("FOOD", OfferSettings(stagger_ms=0), "adm_1")
    before = await other.get("FOOD")
    clock.advance(1_000)

    assert (before.stagger_ms, (await other.get("FOOD")).stagger_ms) == (3_000, 0)


async def test_concurrent_changes_are_all_kept(policies: OfferPolicyStore):
    """Each is made on the version that the one before it has written."""
    settings = [
        OfferSettings(window_ms=20_000),
        OfferSettings(stagger_ms=1_000),
        OfferSettings(mode="batch"),
    ]
    await asyncio.gather(*(policies.put_offers("FOOD", each, "adm_1") for each in settings))

    assert await policies.get_versioned("FOOD") == VersionedPolicy(
        OfferPolicy(window_ms=20_000, stagger_ms=1_000, mode="batch"), 3
    )


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"radii_km": [3.0, 1.5]}, "radiiKm"),
        ({"batch_below": 1.0}, "batchBelow"),
        ({"receipt_ms": 15_000}, "receiptMs"),
    ],
)
async def test_fields_that_do_not_fit_together_are_refused(
    policies: OfferPolicyStore, settings: dict[str, Any], field: str
):
    """The message begins with the field; nothing is written."""
    with pytest.raises(Refused) as refused:
        await policies.put_offers("FOOD", OfferSettings(**settings), "adm_1")

    assert refused.value.code is Refusal.MALFORMED
    assert refused.value.message.startswith(f"{field}:")
    assert (await policies.get_versioned("FOOD")).version == 0


async def test_each_change_leaves_an_audit_record(
    policies: OfferPolicyStore, table: DynamoTable, clock: ManualClock
):
    """With who changed it, and the policy before and after."""
    await policies.put_offers("FOOD", OfferSettings(mode="batch"), "adm_1")
    [item] = (await table.query(Query(pk=f"AUDIT#{clock.now_ms() // DAY_MS}", limit=10))).items

    assert (item["action"], item["actor"]) == ("put_offers", "adm_1")
    assert item["resource"] == "offers:douala:FOOD"
    assert msgspec.convert(item["details"]["before"], OfferPolicy, strict=False) == OfferPolicy()
    assert item["details"]["after"]["mode"] == "batch"
