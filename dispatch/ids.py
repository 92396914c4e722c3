"""Identifiers: their types, how they are minted, and the one pattern they all keep."""

import re
from typing import NewType

import uuid_utils

RiderId = NewType("RiderId", str)
OrderId = NewType("OrderId", str)
OfferId = NewType("OfferId", str)

# Source: wire contract; `#` and `:` must never appear, they separate the parts of a key.
ID_PATTERN = "^[A-Za-z0-9_-]{1,64}$(?!\n)"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_id(text: object) -> bool:
    """Tell whether `text` may be used as an identifier."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def new_id(prefix: str) -> str:
    """A new identifier, sortable by the time it was made.

    Source: UUID version 7, RFC 9562 section 5.7, written as 32 hex digits.
    """
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def new_order_id() -> OrderId:
    """A new order's id."""
    return OrderId(new_id("ord"))


def new_offer_id() -> OfferId:
    """A new offer's id; an offer belongs to one rider and one order."""
    return OfferId(new_id("ofr"))
