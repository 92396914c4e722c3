"""Service rates: the price list of each service, which operators change while the server runs."""

import asyncio

import msgspec

from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.events.audit_records import OperatorAct, audit_record, resource_of
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.item_patch import given_fields
from dispatch.wire.http.service_rates import ServiceSettings
from ledger.core.pricing import DEFAULT_RATES, Rates, Service
from ledger.dynamodb.table import (
    Item,
    Key,
    Put,
    Table,
    TransactionCancelled,
)

SERVICES_KEY = Key("CONFIG#GLOBAL", "SERVICES")
# How long rates are cached. Source: chosen; changed rates apply within a second, without a read for
# every order.
CACHE_TTL_S = 1.0
# Attempts of a conditional write. Source: chosen; operators change rates by hand, rarely at once.
WRITES_MAX = 5

ServiceNames = dict[str, Service]
# Source: docs/http.md, `/config/service/{food|mart|packages}`.
WIRE_NAMES: ServiceNames = {"food": "FOOD", "mart": "MART", "packages": "PACKAGE"}


def parse_service(name: str) -> Service:
    """The service of a name in a path.

    Errors: Refused NOT_FOUND for an unknown name.
    """
    service = WIRE_NAMES.get(name.lower())
    if service is None:
        raise Refused(
            Refusal.NOT_FOUND, f"there is no service {name!r}; try {', '.join(WIRE_NAMES)}"
        )
    return service


class ServiceRates:
    """The rates of all services, in one item; every change writes an audit record with it.

    Errors: every method raises StoreUnavailable where DynamoDB cannot answer.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._rates: dict[Service, Rates] = {}
        self._read_at_s = float("-inf")

    async def rates(self) -> dict[Service, Rates]:
        """The rates of every service, at most a second old. Units: whole XAF, basis points.

        DynamoDB: one GetItem, consistent, at most one a second in each process.
        """
        if not self._is_fresh():
            async with self._lock:
                # Another caller may have read them while this one waited for the lock.
                if not self._is_fresh():
                    self._cache(await self._table.get(SERVICES_KEY))
        return self._rates

    def _is_fresh(self) -> bool:
        return self._clock.monotonic_s() - self._read_at_s < CACHE_TTL_S

    def _cache(self, item: Item | None) -> None:
        self._rates = _read_rates(item)
        self._read_at_s = self._clock.monotonic_s()

    async def put_service(self, service: Service, patch: ServiceSettings, admin_id: str) -> Rates:
        """Change the rates that the patch names; all rates of the service, with the next version.

        A patch that changes nothing writes nothing.

        Errors: Refused MALFORMED where an order would become free of charge; StoreUnavailable
            where other operators kept changing the same item.
        DynamoDB: GetItem, then one transaction of the item (if its version is unchanged) and the
            audit record.
        """
        for _ in range(WRITES_MAX):
            item = await self._table.get(SERVICES_KEY)
            before = _read_rates(item)
            after = _apply_patch(before[service], patch)
            if after == msgspec.structs.replace(before[service], version=after.version):
                return before[service]
            version = item["version"] if item else 0
            now_ms = self._clock.now_ms()
            changed = _to_item({**before, service: after}, version + 1)
            try:
                await self._table.transact(
                    [
                        _put_if_version(changed, version),
                        _audit_change(before[service], after, admin_id, now_ms),
                    ]
                )
            except TransactionCancelled:
                continue
            self._cache(changed)
            return after
        raise StoreUnavailable("dynamodb", "the service configuration keeps changing")


def _read_rates(item: Item | None) -> dict[Service, Rates]:
    if item is None:
        return dict(DEFAULT_RATES)
    stored = msgspec.convert(item["services"], dict[Service, Rates])
    return {**DEFAULT_RATES, **stored}


def _apply_patch(rates: Rates, patch: ServiceSettings) -> Rates:
    fields = {**msgspec.to_builtins(rates), **given_fields(patch), "version": rates.version + 1}
    after = msgspec.convert(fields, Rates)
    if after.service == "PACKAGE" and after.base_fee < 1:
        raise Refused(Refusal.MALFORMED, "baseFee: a parcel must cost at least 1 XAF")
    return after


def _to_item(rates: dict[Service, Rates], version: int) -> Item:
    services = {service: msgspec.to_builtins(each) for service, each in rates.items()}
    return {
        "PK": SERVICES_KEY.pk,
        "SK": SERVICES_KEY.sk,
        "services": services,
        "version": version,
    }


def _put_if_version(item: Item, version: int) -> Put:
    if version == 0:
        return Put(item=item, condition="attribute_not_exists(PK)")
    return Put(
        item=item,
        condition="#version = :version",
        names={"#version": "version"},
        values={":version": version},
    )


def _audit_change(before: Rates, after: Rates, admin_id: str, now_ms: int) -> Put:
    act = OperatorAct(
        action="put_service",
        actor=admin_id,
        resource=resource_of("service", after.service),
        details={"before": msgspec.to_builtins(before), "after": msgspec.to_builtins(after)},
    )
    return audit_record(act, now_ms)
