"""The auditor's input: the event log, every version of every raw item, and the inbox heads.

Neither this module nor the audits import product code; items are in DynamoDB's wire format.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

ItemKey = tuple[str, str]
RawItem = Mapping[str, Any]


class Evidence(NamedTuple):
    """Evidence of one run.

    Shapes: `item_versions` are (time, key, item or None if deleted) in the order of the writes.
    Units: virtual seconds.
    """

    records: Sequence[Mapping[str, Any]]
    item_versions: Sequence[tuple[float, ItemKey, RawItem | None]]
    items: Mapping[ItemKey, RawItem]
    # By identity: epoch and number of the last event in Redis.
    inbox_heads: Mapping[str, Mapping[str, str]]
    faults_end_s: float
    start_ms: int
    # How long after the last fault everything must have ended.
    settle_timeout_s: float

    def records_of(self, action: str, actor_prefix: str = "") -> Iterator[Mapping[str, Any]]:
        """Log records of one action, by actors whose name begins with the prefix."""
        return (
            x for x in self.records if x["action"] == action and x["actor"].startswith(actor_prefix)
        )


class Violation(NamedTuple):
    """A broken promise: the rule, whom or what it concerns, and what was seen."""

    rule: str
    subject: str
    text: str


class OrderVersion(NamedTuple):
    """An order as it was from a moment on. Units: virtual seconds."""

    at_s: float
    order: dict[str, Any]


def decode_item(item: RawItem | None) -> dict[str, Any]:
    """A raw item as plain values. Source: DynamoDB's attribute value format."""
    return {name: _decode_value(value) for name, value in (item or {}).items()}


def _decode_value(attribute: Mapping[str, Any]) -> Any:
    ((kind, value),) = attribute.items()
    if kind == "N":
        return float(value) if "." in value or "e" in value.lower() else int(value)
    if kind == "M":
        return decode_item(value)
    if kind == "L":
        return [_decode_value(each) for each in value]
    return None if kind == "NULL" else value


def order_versions(evidence: Evidence) -> dict[str, list[OrderVersion]]:
    """Every version of every order, oldest first."""
    found: dict[str, list[OrderVersion]] = {}
    for at_s, (pk, sk), raw in evidence.item_versions:
        if pk.startswith("ORDER#") and sk == "METADATA":
            found.setdefault(pk.removeprefix("ORDER#"), []).append(
                OrderVersion(at_s, decode_item(raw))
            )
    return found


def dispatch_state_of(order: Mapping[str, Any]) -> str | None:
    """The order's dispatch state."""
    return (order.get("dispatch") or {}).get("state")


def rider_of(order: Mapping[str, Any]) -> str | None:
    """The rider that the order is assigned to."""
    return (order.get("dispatch") or {}).get("riderId")
