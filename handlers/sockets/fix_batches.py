"""Batches of fixes: takes the good ones, and answers what was dropped and why, by index."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import msgspec

from dispatch import metrics
from dispatch.tracking.fix_pipeline import BatchResult
from dispatch.tracking.fixes.model import Drop
from dispatch.wire.commands import Fix
from dispatch.wire.fix_decoding import BadFix, decode_fix
from handlers.validation_messages import explain

# Drops that an acknowledgement names one by one; the counts have all of them.
# Source: chosen; the first ones show the developer the mistake, and the answer stays below 4 KiB.
ERRORS_MAX = 20
# Units: bytes of the acknowledgement's data; the test of this module holds it.
ANSWER_BYTES_MAX = 4096

# What the app's developer reads about a drop.
DROP_MESSAGES: Mapping[Drop, str] = {
    Drop.ABSENT: "the rider is not connected here",
    Drop.MALFORMED: "the fix has a field that is not a number in range",
    Drop.OFF_GLOBE: "the fix does not lie on this globe: lat -90..90, lng -180..180",
    Drop.SENTINEL: "the place stands for none, as (0, 0) does",
    Drop.SWAPPED: "latitude and longitude are exchanged",
    Drop.FROZEN: "the place stays the same to its last digit although the rider moves",
    Drop.PAUSED: "another phone of the rider shows where it is",
    Drop.STALE: "the fix is older than the last one, or more than a day old",
    Drop.INACCURATE: "the fix is too inaccurate",
    Drop.TELEPORT: "the fix is too far from the one before it",
}


class DroppedRecord(TypedDict):
    """One record of a batch that was not used; `index` counts from 0."""

    index: int
    reason: str
    message: str


class _BadRecord(NamedTuple):
    place: int
    message: str


def process_records(
    records: Sequence[object], process: Callable[[Sequence[Fix]], BatchResult]
) -> dict[str, Any]:
    """Decode each record of a batch by itself, and have the good ones processed together.

    Shapes: `{accepted: n, <reason>: n, ..., dropped: {<reason>: n}, errors: [{index, reason,
    message}]}`; `errors` has the first twenty.
    """
    fixes, indexes, bad = _decode(records)
    result = process(fixes)
    malformed = Drop.MALFORMED
    errors: list[DroppedRecord] = [
        {"index": each.place, "reason": malformed.value, "message": each.message} for each in bad
    ]
    errors.extend(
        {"index": indexes[at], "reason": drop.value, "message": _message(drop)}
        for at, drop in result.drops
    )
    errors.sort(key=lambda each: each["index"])
    dropped = Counter(each["reason"] for each in errors)
    metrics.FIXES_DROPPED.labels(malformed.value).inc(len(bad))
    # The counts stand twice: beside `accepted` since the first version of the contract.
    return {
        **dropped,
        "accepted": result.accepted_count,
        "dropped": dict(dropped),
        "errors": errors[:ERRORS_MAX],
    }


def _message(drop: Drop) -> str:
    return DROP_MESSAGES.get(drop, f"the fix was dropped: {drop.value}")


def _decode(records: Sequence[object]) -> tuple[list[Fix], list[int], list[_BadRecord]]:
    """The good fixes, the index of each in the batch, and the bad records."""
    fixes, indexes, bad = list[Fix](), list[int](), list[_BadRecord]()
    for index, record in enumerate(records):
        try:
            fix = decode_fix(record)
        except msgspec.ValidationError as error:
            bad.append(_BadRecord(index, explain(error)))
        except BadFix as error:
            bad.append(_BadRecord(index, str(error)))
        else:
            fixes.append(fix)
            indexes.append(index)
    return fixes, indexes, bad
