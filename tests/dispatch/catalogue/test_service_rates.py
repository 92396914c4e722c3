"""Service rates: versions, caching, concurrent changes and audit records."""

import asyncio

import msgspec
import pytest

from dispatch.catalogue.service_rates import ServiceRates, parse_service
from dispatch.clock import ManualClock
from dispatch.errors import Refused
from dispatch.events.audit_records import DAY_MS
from dispatch.wire.http.service_rates import ServiceSettings
from ledger.core.pricing import DEFAULT_RATES
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query

pytestmark = pytest.mark.engines


@pytest.fixture
def service_rates(table: DynamoTable, clock: ManualClock) -> ServiceRates:
    return ServiceRates(table, clock)


def change(**fields: object) -> ServiceSettings:
    return msgspec.convert(fields, ServiceSettings)


async def test_only_food_is_enabled_at_first(service_rates: ServiceRates) -> None:
    """Without changes FOOD is enabled, MART and PACKAGE are not."""
    services = await service_rates.rates()

    assert services == DEFAULT_RATES
    assert {name: rates.enabled for name, rates in services.items()} == {
        "FOOD": True,
        "MART": False,
        "PACKAGE": False,
    }


async def test_change_increments_the_version(service_rates: ServiceRates) -> None:
    """A patch changes the named rates and increments the version of that service only."""
    first = await service_rates.put_service("MART", change(enabled=True), "adm_1")
    second = await service_rates.put_service(
        "MART", change(commissionBps=0, deliveryFee=0), "adm_1"
    )

    assert (first.enabled, first.commission_bps, first.version) == (True, 1000, 2)
    assert (second.enabled, second.commission_bps, second.delivery_fee) == (True, 0, 0)
    assert second.version == 3
    assert (await service_rates.rates())["FOOD"].version == 1


async def test_change_reaches_other_processes_in_a_second(
    service_rates: ServiceRates, table: DynamoTable, clock: ManualClock
) -> None:
    """A change of another process is seen after a second, with one read."""
    other = ServiceRates(table, clock)
    await other.rates()
    await service_rates.put_service("FOOD", change(deliveryFee=1700), "adm_1")
    calls = table.counts.calls
    cached = (await other.rates())["FOOD"].delivery_fee
    clock.advance(1000)
    fresh = (await other.rates())["FOOD"].delivery_fee

    assert (cached, fresh) == (1500, 1700)
    assert table.counts.calls == calls + 1


async def test_concurrent_changes_are_not_lost(
    service_rates: ServiceRates, table: DynamoTable
) -> None:
    """Concurrent changes of different rates are all applied."""
    other = ServiceRates(table, ManualClock())
    await asyncio.gather(
        service_rates.put_service("FOOD", change(deliveryFee=1700), "adm_1"),
        other.put_service("FOOD", change(minOrderAmount=2500), "adm_2"),
        other.put_service("MART", change(enabled=True), "adm_2"),
    )
    services = await ServiceRates(table, ManualClock()).rates()

    assert (services["FOOD"].delivery_fee, services["FOOD"].min_order_amount) == (1700, 2500)
    assert (services["FOOD"].version, services["MART"].enabled) == (3, True)


async def test_every_change_is_audited(
    service_rates: ServiceRates, table: DynamoTable, clock: ManualClock
) -> None:
    """The audit record of a change has the operator and the rates before and after."""
    await service_rates.put_service("FOOD", change(deliveryFee=1700), "adm_1")
    clock.advance(1)
    await service_rates.put_service("FOOD", change(deliveryFee=1800), "adm_2")
    page = await table.query(Query(pk=f"AUDIT#{clock.now_ms() // DAY_MS}"))

    assert [(each["actor"], each["resource"]) for each in page.items] == [
        ("adm_1", "service:FOOD"),
        ("adm_2", "service:FOOD"),
    ]
    fees = [
        tuple(each["details"][when]["deliveryFee"] for when in ("before", "after"))
        for each in page.items
    ]
    assert fees == [(1500, 1700), (1700, 1800)]


async def test_free_parcels_are_refused(service_rates: ServiceRates) -> None:
    """Rates under which a parcel would be free are refused and not saved."""
    with pytest.raises(Refused) as refused:
        await service_rates.put_service("PACKAGE", change(baseFee=0), "adm_1")

    assert refused.value.code == "malformed"
    assert (await service_rates.rates())["PACKAGE"].base_fee == 2000


def test_services_have_names_on_the_wire() -> None:
    """A name in a path stands for its service in any case; an unknown one is not found."""
    assert [parse_service(name) for name in ("food", "mart", "packages", "FOOD")] == [
        "FOOD",
        "MART",
        "PACKAGE",
        "FOOD",
    ]
    with pytest.raises(Refused) as refused:
        parse_service("taxi")
    assert refused.value.code == "not_found"
