"""Everything that was said, heard and done in the town, in its order."""

from typing import Any

import orjson

from tests.virtual_time import START_MS, VirtualClock

LogRecord = dict[str, Any]


class EventLog:
    """The lines of one run. Units: `t` in virtual seconds since the start."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.records: list[LogRecord] = []
        self.is_recording = True

    def record(self, actor: str, action: str, **fields: Any) -> None:
        """Write one line."""
        if self.is_recording:
            at_s = (self._clock.now_ms() - START_MS) / 1000
            self.records.append({"t": at_s, "who": actor, "what": action, **fields})

    def to_json_lines(self) -> bytes:
        """The whole diary, one JSON object a line."""
        return b"".join(orjson.dumps(line) + b"\n" for line in self.records)
