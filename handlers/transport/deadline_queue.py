"""Deadline queue: many timeouts of one length behind a single event-loop timer."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

# Deadlines that fall within this fraction of the timeout expire together, so that sockets are
# pinged, and answer, in batches. Source: docs/decisions/0019, measured 2026-11-21: 10,000 idle
# sockets with a timer each used 14 % of a core, with shared timers 11 %.
TIMER_SLACK_RATIO = 0.01


Key = TypeVar("Key", bound=Hashable)


class DeadlineQueue(Generic[Key]):
    """Calls `on_due(key)` when a key's timeout has passed; never early, at most 1 % late.

    Units: `wait_s` in seconds.
    """

    def __init__(self, wait_s: float, on_due: Callable[[Key], object]) -> None:
        self._wait_s = wait_s
        self._on_due = on_due
        # Ordered by deadline, because all timeouts have the same length.
        self._due_s: OrderedDict[Key, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due_s)

    def start(self, key: Key) -> None:
        """Start a key's timeout, or restart it."""
        loop = asyncio.get_running_loop()
        self._due_s.pop(key, None)
        self._due_s[key] = loop.time() + self._wait_s
        if self._timer is None:
            self._set_timer(loop)

    def cancel(self, key: Key) -> None:
        """Cancel a key's timeout, if it has one."""
        self._due_s.pop(key, None)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        first_s = next(iter(self._due_s.values()))
        self._timer = loop.call_at(first_s + self._wait_s * TIMER_SLACK_RATIO, self._expire_due)

    def _expire_due(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        self._timer = None
        try:
            while self._due_s:
                key, due_s = next(iter(self._due_s.items()))
                if due_s > now_s:
                    break
                del self._due_s[key]
                self._on_due(key)
        finally:
            # A callback may have raised; the other keys still expire.
            if self._due_s and self._timer is None:
                self._set_timer(loop)
