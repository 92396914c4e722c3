"""Identifiers: their types, how new ones are made, and the pattern they all match."""

import re
from typing import NewType

import uuid_utils

RiderId = NewType("RiderId", str)
OrderId = NewType("OrderId", str)
OfferId = NewType("OfferId", str)

# Source: chosen; `#` and `:` are excluded because they separate the parts of stored keys.
ID_PATTERN = "^[A-Za-z0-9_-]{1,64}$(?!\n)"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_id(text: object) -> bool:
    """Whether `text` is a valid identifier."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def new_id(prefix: str) -> str:
    """A new identifier, sortable by creation time.

    Source: UUID version 7, RFC 9562 section 5.7, written as 32 hex digits.
    """
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def new_order_id() -> OrderId:
    """A new order id."""
    return OrderId(new_id("ord"))


def new_offer_id() -> OfferId:
    """A new offer id; an offer belongs to one rider and one order."""
    return OfferId(new_id("ofr"))
