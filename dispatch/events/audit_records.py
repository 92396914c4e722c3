"""Audit records: which operator did what, when and why, written with the change itself."""

from collections.abc import Mapping
from typing import Any

from dispatch.ids import new_id
from ledger.dynamodb.table import Put, time_sort_key

DAY_MS = 86_400_000


def audit_record(action: str, by: str, details: Mapping[str, Any], now_ms: int) -> Put:
    """The write of one audit record, which is never changed. Units: Unix milliseconds.

    DynamoDB: Put in the partition of its day.
    """
    record: dict[str, Any] = {
        **details,
        "PK": f"AUDIT#{now_ms // DAY_MS}",
        "SK": time_sort_key(now_ms, new_id("aud")),
        "action": action,
        "by": by,
        "at": now_ms,
    }
    return Put(item=record, condition="attribute_not_exists(PK)")
