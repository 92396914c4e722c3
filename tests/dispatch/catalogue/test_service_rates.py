"""The services' price lists on a real engine."""

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
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def config(table: DynamoTable, clock: ManualClock) -> ServiceRates:
    return ServiceRates(table, clock)


def change(**fields: object) -> ServiceSettings:
    return msgspec.convert(fields, ServiceSettings)


async def test_a_new_installation_sells_food_alone(config: ServiceRates) -> None:
    """Without a word from an operator food is on, mart and packages are off."""
    services = await config.rates()

    assert services == DEFAULT_RATES
    assert {name: rates.enabled for name, rates in services.items()} == {
        "FOOD": True,
        "MART": False,
        "PACKAGE": False,
    }


async def test_a_change_is_one_version_on(config: ServiceRates) -> None:
    """A patch changes what it names, keeps the rest, and counts the version of that service."""
    first = await config.put_service("MART", change(enabled=True), "adm_1")
    second = await config.put_service("MART", change(commissionBps=0, deliveryFee=0), "adm_1")

    assert (first.enabled, first.commission_bps, first.version) == (True, 1000, 2)
    assert (second.enabled, second.commission_bps, second.delivery_fee) == (True, 0, 0)
    assert second.version == 3
    assert (await config.rates())["FOOD"].version == 1


async def test_change_reaches_other_processes_in_a_second(
    config: ServiceRates, table: DynamoTable, clock: ManualClock
) -> None:
    """A change made elsewhere is seen once a second has passed, and not read before."""
    other = ServiceRates(table, clock)
    await other.rates()
    await config.put_service("FOOD", change(deliveryFee=1700), "adm_1")
    calls = table.counts.calls
    cached = (await other.rates())["FOOD"].delivery_fee
    clock.advance(1000)
    fresh = (await other.rates())["FOOD"].delivery_fee

    assert (cached, fresh) == (1500, 1700)
    assert table.counts.calls == calls + 1


async def test_concurrent_changes_are_not_lost(config: ServiceRates, table: DynamoTable) -> None:
    """Two operators who change different things at once lose neither change."""
    other = ServiceRates(table, ManualClock())
    await asyncio.gather(
        config.put_service("FOOD", change(deliveryFee=1700), "adm_1"),
        other.put_service("FOOD", change(minOrderAmount=2500), "adm_2"),
        other.put_service("MART", change(enabled=True), "adm_2"),
    )
    services = await ServiceRates(table, ManualClock()).rates()

    assert (services["FOOD"].delivery_fee, services["FOOD"].min_order_amount) == (1700, 2500)
    assert (services["FOOD"].version, services["MART"].enabled) == (3, True)


async def test_every_change_leaves_a_record(
    config: ServiceRates, table: DynamoTable, clock: ManualClock
) -> None:
    """The audit record of a change says who, when, from what and to what."""
    await config.put_service("FOOD", change(deliveryFee=1700), "adm_1")
    clock.advance(1)
    await config.put_service("FOOD", change(deliveryFee=1800), "adm_2")
    page = await table.query(Query(pk=f"AUDIT#{clock.now_ms() // DAY_MS}"))

    told = [
        (each["by"], each["service"], each["before"]["deliveryFee"], each["after"]["deliveryFee"])
        for each in page.items
    ]
    assert told == [("adm_1", "FOOD", 1500, 1700), ("adm_2", "FOOD", 1700, 1800)]


async def test_a_parcel_costs_something(config: ServiceRates) -> None:
    """A price list under which an order could be free of charge is refused and not saved."""
    with pytest.raises(Refused) as refused:
        await config.put_service("PACKAGE", change(baseFee=0), "adm_1")

    assert refused.value.code == "malformed"
    assert (await config.rates())["PACKAGE"].base_fee == 2000


def test_services_have_names_on_the_wire() -> None:
    """`packages` is PACKAGE; a name that is none is not found."""
    assert [parse_service(name) for name in ("food", "mart", "packages", "FOOD")] == [
        "FOOD",
        "MART",
        "PACKAGE",
        "FOOD",
    ]
    with pytest.raises(Refused) as refused:
        parse_service("taxi")
    assert refused.value.code == "not_found"
