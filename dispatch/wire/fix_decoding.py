"""Decoding of GPS fixes as devices write them, one by one, so that a bad one spoils no other.

A time is Unix milliseconds, or RFC 3339 with a zone. A time in seconds is refused rather than
guessed at: it would silently count as a fix of January 1970.
"""

from datetime import datetime
from typing import Annotated, cast

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from dispatch.wire import decoding
from dispatch.wire.commands import Fix

# A time between these is taken for seconds: as milliseconds it would lie between 12 January 1970
# and March 1973, as seconds after the year 2001. Source: chosen; a device whose clock was reset
# starts on 1 January 1970, or in a later year than 1973.
SECONDS_MIN = 1e9
SECONDS_MAX = 1e11
SECONDS_HINT = "`ts` looks like seconds; it must be Unix milliseconds"
TIME_HINT = "`ts` must be Unix milliseconds, or a time with a zone such as 2026-01-31T12:00:00Z"

# Source: RFC 3339 section 5.6; without a zone nobody knows which moment is meant.
_ZonedTime = Annotated[datetime, Meta(tz=True)]


class BadFix(Exception):
    """A fix whose fields are of the right types, and whose time is none; the text says why."""


def decode_fix(payload: object) -> Fix:
    """One fix from parsed JSON.

    Errors: msgspec.ValidationError; BadFix for a time that is no Unix milliseconds.
    """
    fields = cast("dict[str, object]", payload) if isinstance(payload, dict) else {}
    ts = fields.get("ts")
    if isinstance(ts, str):
        return replace(decoding.convert({**fields, "ts": None}, Fix), ts=_to_unix_ms(ts))
    fix = decoding.convert(cast("object", payload), Fix)
    if has_seconds(fix):
        raise BadFix(SECONDS_HINT)
    return fix


def has_seconds(fix: Fix) -> bool:
    """Whether a fix gives its time in seconds instead of milliseconds."""
    ts = fix.ts
    return ts is not None and SECONDS_MIN <= ts < SECONDS_MAX


def _to_unix_ms(text: str) -> int:
    try:
        return int(msgspec.convert(text, _ZonedTime).timestamp() * 1000)
    except msgspec.ValidationError:
        raise BadFix(TIME_HINT) from None
