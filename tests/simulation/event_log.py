"""Event log of a run: everything that clients sent and received and nodes did, in order."""

from typing import Any

import orjson

from tests.virtual_time import START_MS, VirtualClock

LogRecord = dict[str, Any]


class EventLog:
    """The records of one run. Units: `t` in virtual seconds since the start."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.records: list[LogRecord] = []
        self.is_recording = True

    def record(self, actor: str, action: str, /, **fields: Any) -> None:
        """Append one record, unless recording has stopped."""
        if self.is_recording:
            at_s = (self._clock.now_ms() - START_MS) / 1000
            self.records.append({**fields, "t": at_s, "actor": actor, "action": action})

    def to_json_lines(self) -> bytes:
        """The whole log, one JSON object a line."""
        return b"".join(orjson.dumps(record) + b"\n" for record in self.records)
