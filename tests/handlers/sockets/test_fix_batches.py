"""Batches of fixes: one bad record spoils no other, and the answer says what was dropped."""

from collections.abc import Sequence

import msgspec
import pytest

from dispatch.tracking.fix_pipeline import BatchResult
from dispatch.tracking.fixes.model import Drop
from dispatch.wire.commands import Fix
from handlers.sockets.fix_batches import (
    ANSWER_BYTES_MAX,
    DROP_MESSAGES,
    ERRORS_MAX,
    process_records,
)

GOOD = {"lat": 4.05, "lng": 9.7, "ts": 1_796_058_000_000, "seq": 1}
BAD: list[tuple[object, str]] = [
    ({**GOOD, "lat": None}, "`lat` must be a number"),
    ({"lng": 9.7}, "`lat` is required"),
    ({**GOOD, "speed": "3.2"}, "`speed` must be a number or null"),
    ({**GOOD, "seq": 1.5}, "`seq` must be a whole number or null"),
    ({**GOOD, "ts": 1_796_058_000}, "`ts` looks like seconds; it must be Unix milliseconds"),
    ({**GOOD, "accuracy": True}, "`accuracy` must be a number or null"),
    (None, "the payload must be an object"),
    ("fix", "the payload must be an object"),
    ([4.05, 9.7], "the payload must be an object"),
]


class RecordingPipeline:
    """Accepts every fix except those at the given places."""

    def __init__(self, drops: dict[int, Drop] | None = None) -> None:
        self.fixes: list[Fix] = []
        self._drops = drops or {}

    def process(self, fixes: Sequence[Fix]) -> BatchResult:
        self.fixes.extend(fixes)
        return BatchResult(len(fixes) - len(self._drops), tuple(self._drops.items()))


@pytest.mark.parametrize(("record", "message"), BAD)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_record_refuses_no_other(record: object, message: str, place: int):
    """The two good ones are taken in their order; the answer names the bad one's index."""
    pipeline = RecordingPipeline()
    good: list[object] = [{**GOOD, "seq": 1}, {**GOOD, "seq": 2}]
    answer = process_records([*good[:place], record, *good[place:]], pipeline.process)

    assert [fix.seq for fix in pipeline.fixes] == [1, 2]
    assert answer == {
        "accepted": 2,
        "malformed": 1,
        "dropped": {"malformed": 1},
        "errors": [{"index": place, "reason": "malformed", "message": message}],
    }


def test_drops_of_the_checks_are_named_by_the_index_in_the_batch():
    """Also where bad records stand before them; all in order of their index."""
    pipeline = RecordingPipeline({2: Drop.STALE, 0: Drop.TELEPORT})
    answer = process_records([None, GOOD, GOOD, "x", GOOD], pipeline.process)

    assert answer["accepted"] == 1
    assert answer["dropped"] == {"malformed": 2, "teleport": 1, "stale": 1}
    assert [(each["index"], each["reason"]) for each in answer["errors"]] == [
        (0, "malformed"),
        (1, "teleport"),
        (3, "malformed"),
        (4, "stale"),
    ]


def test_the_answer_is_bounded():
    """A hundred bad records are all counted; the first ones are named, below 4 KiB."""
    answer = process_records([{**GOOD, "lat": "x" * 500}] * 100, RecordingPipeline().process)

    assert (answer["accepted"], answer["dropped"]) == (0, {"malformed": 100})
    assert [each["index"] for each in answer["errors"]] == list(range(ERRORS_MAX))
    assert len(msgspec.json.encode(answer)) < ANSWER_BYTES_MAX


def test_an_empty_batch_and_a_good_one_drop_nothing():
    """There is nothing to name."""
    for records, accepted in (([], 0), ([GOOD, {**GOOD, "ts": "2026-11-30T12:00:00Z"}], 2)):
        answer = process_records(records, RecordingPipeline().process)
        assert answer == {"accepted": accepted, "dropped": {}, "errors": []}


@pytest.mark.parametrize("drop", sorted(set(Drop) - {Drop.NOT_MOVED, Drop.LATE}))
def test_every_drop_of_a_fix_is_explained(drop: Drop):
    """In one sentence of its own."""
    assert DROP_MESSAGES[drop]
    assert len(set(DROP_MESSAGES.values())) == len(DROP_MESSAGES)
