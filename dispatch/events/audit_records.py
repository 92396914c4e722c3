"""Who of the operators did what, when and why: a record beside what he changed."""

from collections.abc import Mapping
from typing import Any

from dispatch.ids import mint
from ledger.dynamodb.table import Put, in_time

DAY_MS = 86_400_000


def audit(action: str, by: str, what: Mapping[str, Any], now_ms: int) -> Put:
    """The record of one act; nothing ever changes it. DynamoDB: Put under its day."""
    record: dict[str, Any] = {
        **what,
        "PK": f"AUDIT#{now_ms // DAY_MS}",
        "SK": in_time(now_ms, mint("aud")),
        "action": action,
        "by": by,
        "at": now_ms,
    }
    return Put(item=record, condition="attribute_not_exists(PK)")
