"""Everything that was said, heard and done in the town, in its order."""

from typing import Any

import orjson

from tests.virtual_time import START_MS, VirtualClock

Line = dict[str, Any]


class Diary:
    """The lines of one run. Units: `t` in virtual seconds since the start."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.lines: list[Line] = []
        self.is_open = True

    def note(self, who: str, what: str, **facts: Any) -> None:
        """Write one line."""
        if self.is_open:
            at_s = (self._clock.now_ms() - START_MS) / 1000
            self.lines.append({"t": at_s, "who": who, "what": what, **facts})

    def text(self) -> bytes:
        """The whole diary, one JSON object a line."""
        return b"".join(orjson.dumps(line) + b"\n" for line in self.lines)
