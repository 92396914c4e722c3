"""Audit records: which operator did what to which resource, when and why.

Each is written in the transaction of its act, so that neither exists without the other.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from dispatch.ids import new_id
from ledger.dynamodb.table import Item, Put, time_sort_key

DAY_MS = 86_400_000


class OperatorAct(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that an operator did; `actor` is the `userId` of its token.

    `resource` is `<kind>:<id>`, as `order:ord_1`. `details` are the values of the act.
    """

    action: str
    actor: str
    resource: str
    reason: str | None = None
    details: Mapping[str, Any] = {}


class AuditIndex(msgspec.Struct, frozen=True):
    """One list of audit records: a partition of an index, sorted by time."""

    name: str
    pk: str


def actor_index(actor: str) -> AuditIndex:
    """The acts of one operator."""
    return AuditIndex("GSI1", f"AUDIT#ACTOR#{actor}")


def resource_index(resource: str) -> AuditIndex:
    """The acts that concern one resource."""
    return AuditIndex("GSI2", f"AUDIT#RESOURCE#{resource}")


def action_index(action: str) -> AuditIndex:
    """The acts of one kind."""
    return AuditIndex("GSI3", f"AUDIT#ACTION#{action}")


def all_acts_index() -> AuditIndex:
    """All acts. Source: DynamoDB's limits, one partition takes 1,000 writes a second."""
    return AuditIndex("GSI4", "AUDIT")


def resource_of(kind: str, *ids: str) -> str:
    """The name of a resource in audit records."""
    return ":".join((kind, *ids))


def audit_record(act: OperatorAct, now_ms: int) -> Put:
    """The write of one audit record, which is never changed. Units: Unix milliseconds.

    DynamoDB: Put in the partition of its day, listed in all four indexes.
    """
    audit_id = new_id("aud")
    sort_key = time_sort_key(now_ms, audit_id)
    item: Item = {
        "PK": f"AUDIT#{now_ms // DAY_MS}",
        "SK": sort_key,
        "auditId": audit_id,
        "at": now_ms,
        **msgspec.to_builtins(act),
    }
    for index in (
        actor_index(act.actor),
        resource_index(act.resource),
        action_index(act.action),
        all_acts_index(),
    ):
        item |= {f"{index.name}PK": index.pk, f"{index.name}SK": sort_key}
    return Put(item=item, condition="attribute_not_exists(PK)")
