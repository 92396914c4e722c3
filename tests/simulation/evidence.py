"""What the auditor goes by: the diary, every raw item ever written, and where inboxes stand.

Nothing here or in the audits knows the product's code: raw items are read as DynamoDB has them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

ItemKey = tuple[str, str]
RawItem = Mapping[str, Any]


class Evidence(NamedTuple):
    """One run. `history` is (virtual second, place, raw item or None) in the order of writing."""

    records: Sequence[Mapping[str, Any]]
    item_versions: Sequence[tuple[float, ItemKey, RawItem | None]]
    items: Mapping[ItemKey, RawItem]
    # By identity, epoch and number of the last event in Redis.
    inbox_heads: Mapping[str, Mapping[str, str]]
    faults_end_s: float
    start_ms: int
    # How long after the calm everything has to be over.
    settle_timeout_s: float

    def records_of(self, action: str, actor_prefix: str = "") -> Iterator[Mapping[str, Any]]:
        """The diary's lines of one kind, of those whose name begins so."""
        return (
            x for x in self.records if x["what"] == action and x["who"].startswith(actor_prefix)
        )


class Violation(NamedTuple):
    """A promise that was broken, by its rule, with who or what shows it."""

    rule: str
    subject: str
    text: str


class OrderVersion(NamedTuple):
    """An order as it was from a moment on."""

    at_s: float
    order: dict[str, Any]


def decode_item(item: RawItem | None) -> dict[str, Any]:
    """A raw item in plain values. Source: DynamoDB's attribute values."""
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
    """Every order with all that it ever was, oldest first."""
    found: dict[str, list[OrderVersion]] = {}
    for at_s, (pk, sk), raw in evidence.item_versions:
        if pk.startswith("ORDER#") and sk == "METADATA":
            found.setdefault(pk.removeprefix("ORDER#"), []).append(
                OrderVersion(at_s, decode_item(raw))
            )
    return found


def dispatch_state_of(order: Mapping[str, Any]) -> str | None:
    """Where the search for, or the way of, a rider stands."""
    return (order.get("dispatch") or {}).get("state")


def rider_of(order: Mapping[str, Any]) -> str | None:
    """To whom the order is given."""
    return (order.get("dispatch") or {}).get("riderId")
