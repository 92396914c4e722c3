"""What the auditor goes by: the diary, every raw item ever written, and where inboxes stand.

Nothing here or in the audits knows the product's code: raw items are read as DynamoDB has them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Place = tuple[str, str]
Raw = Mapping[str, Any]


class Evidence(NamedTuple):
    """One run. `history` is (virtual second, place, raw item or None) in the order of writing."""

    lines: Sequence[Mapping[str, Any]]
    history: Sequence[tuple[float, Place, Raw | None]]
    items: Mapping[Place, Raw]
    # By identity, epoch and number of the last event in Redis.
    heads: Mapping[str, Mapping[str, str]]
    calm_s: float
    start_ms: int
    # How long after the calm everything has to be over.
    patience_s: float

    def of(self, what: str, who: str = "") -> Iterator[Mapping[str, Any]]:
        """The diary's lines of one kind, of those whose name begins so."""
        return (x for x in self.lines if x["what"] == what and x["who"].startswith(who))


class Finding(NamedTuple):
    """A promise that was broken, by its rule, with who or what shows it."""

    rule: str
    about: str
    text: str


class Version(NamedTuple):
    """An order as it was from a moment on."""

    at_s: float
    order: dict[str, Any]


def read(raw: Raw | None) -> dict[str, Any]:
    """A raw item in plain values. Source: DynamoDB's attribute values."""
    return {name: _value(value) for name, value in (raw or {}).items()}


def _value(attribute: Mapping[str, Any]) -> Any:
    ((kind, value),) = attribute.items()
    if kind == "N":
        return float(value) if "." in value or "e" in value.lower() else int(value)
    if kind == "M":
        return read(value)
    if kind == "L":
        return [_value(each) for each in value]
    return None if kind == "NULL" else value


def orders(evidence: Evidence) -> dict[str, list[Version]]:
    """Every order with all that it ever was, oldest first."""
    found: dict[str, list[Version]] = {}
    for at_s, (pk, sk), raw in evidence.history:
        if pk.startswith("ORDER#") and sk == "METADATA":
            found.setdefault(pk.removeprefix("ORDER#"), []).append(Version(at_s, read(raw)))
    return found


def state_of(order: Mapping[str, Any]) -> str | None:
    """Where the search for, or the way of, a rider stands."""
    return (order.get("dispatch") or {}).get("state")


def rider_of(order: Mapping[str, Any]) -> str | None:
    """To whom the order is given."""
    return (order.get("dispatch") or {}).get("riderId")
