"""Offer policies in DynamoDB, for each zone and service; a change holds without a restart."""

import asyncio
from typing import get_args

import msgspec

from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.events.audit_records import OperatorAct, audit_record, resource_of
from dispatch.model import OfferPolicy
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.item_patch import given_fields
from dispatch.wire.http.offer_policy import OfferSettings
from ledger.core.pricing import Service
from ledger.dynamodb.table import (
    Item,
    Key,
    Put,
    Table,
    TransactionCancelled,
)

# How old a cached policy may be; spares a read for each check of an order.
CACHE_S = 1.0
# Operators change policies by hand: more concurrent changes than this mean a fault.
WRITE_ATTEMPTS_MAX = 5
SERVICES: tuple[Service, ...] = get_args(Service)


class VersionedPolicy(msgspec.Struct, frozen=True):
    """A policy and how often it was changed; version 0 is the default."""

    policy: OfferPolicy
    version: int


class OfferPolicyStore:
    """Reads and changes the policies of one zone; every change leaves an audit record."""

    def __init__(self, table: Table, clock: Clock, zone: str) -> None:
        self._table = RetryableTable(table)
        self._clock = clock
        self.zone = zone
        self._lock = asyncio.Lock()
        self._cached: dict[Service, VersionedPolicy] = {}
        self._read_at_s = float("-inf")

    def _key(self, service: Service) -> Key:
        return Key("CONFIG#GLOBAL", f"OFFERS#{self.zone}#{service}")

    async def get(self, service: Service) -> OfferPolicy:
        """The policy of a service, at most a second old.

        Errors: StoreUnavailable.
        DynamoDB: one BatchGetItem, consistent, at most once a second and process.
        """
        return (await self.get_versioned(service)).policy

    async def get_versioned(self, service: Service) -> VersionedPolicy:
        """The policy of a service with its version; otherwise as `get`."""
        if not self._is_fresh():
            async with self._lock:
                # Another task may have read it while this one waited for the lock.
                if not self._is_fresh():
                    items = await self._table.get_many([self._key(each) for each in SERVICES])
                    self._cached = dict(zip(SERVICES, map(_from_item, items), strict=True))
                    self._read_at_s = self._clock.monotonic_s()
        return self._cached[service]

    def _is_fresh(self) -> bool:
        return self._clock.monotonic_s() - self._read_at_s < CACHE_S

    async def put_offers(
        self, service: Service, patch: OfferSettings, admin_id: str
    ) -> VersionedPolicy:
        """Change the fields that the patch names; the policy after it, one version later.

        A patch that changes nothing writes nothing.

        Errors: Refused MALFORMED where the fields do not fit together; StoreUnavailable, also where
            others kept changing the same policy.
        DynamoDB: GetItem, then one transaction of the item (if its version is unchanged) and the
            audit record.
        """
        for _ in range(WRITE_ATTEMPTS_MAX):
            before = _from_item(await self._table.get(self._key(service)))
            after = VersionedPolicy(_apply_patch(before.policy, patch), before.version + 1)
            if after.policy == before.policy:
                return before
            act = OperatorAct(
                action="put_offers",
                actor=admin_id,
                resource=resource_of("offers", self.zone, service),
                details={
                    "before": msgspec.to_builtins(before.policy),
                    "after": msgspec.to_builtins(after.policy),
                },
            )
            record = audit_record(act, self._clock.now_ms())
            try:
                await self._table.transact([_put_write(self._key(service), after), record])
            except TransactionCancelled:
                continue
            self._read_at_s = float("-inf")
            return after
        raise StoreUnavailable("dynamodb", "the offer policy keeps changing")


def _from_item(item: Item | None) -> VersionedPolicy:
    if item is None:
        return VersionedPolicy(OfferPolicy(), 0)
    return VersionedPolicy(
        msgspec.convert(item["policy"], OfferPolicy, strict=False), item["version"]
    )


def _apply_patch(policy: OfferPolicy, patch: OfferSettings) -> OfferPolicy:
    after = msgspec.convert({**msgspec.to_builtins(policy), **given_fields(patch)}, OfferPolicy)
    if list(after.radii_km) != sorted(set(after.radii_km)):
        raise Refused(Refusal.MALFORMED, "radiiKm: each radius must be wider than the one before")
    if after.batch_below >= after.batch_above:
        raise Refused(Refusal.MALFORMED, "batchBelow: must be less than batchAbove")
    if after.receipt_ms >= after.window_ms:
        raise Refused(Refusal.MALFORMED, "receiptMs: must be shorter than windowMs")
    return after


def _put_write(key: Key, policy: VersionedPolicy) -> Put:
    item: Item = {
        "PK": key.pk,
        "SK": key.sk,
        "policy": msgspec.to_builtins(policy.policy),
        "version": policy.version,
    }
    if policy.version == 1:
        return Put(item=item, condition="attribute_not_exists(PK)")
    return Put(
        item=item,
        condition="#version = :version",
        names={"#version": "version"},
        values={":version": policy.version - 1},
    )
