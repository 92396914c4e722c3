"""While the server is late, only the newest fix of each socket is worth its work.

Before step 1 of a fix's way: the sockets → [here] → handlers.sockets.rider.
"""

import asyncio
from collections import deque

from dispatch import metrics
from dispatch.clock import Clock
from handlers.sessions.session_registry import Session, Sessions

# The loop is asked so often whether it is late, and what is late. Source: promise, positions are at
# most 250 ms old in an overload; what comes at once at the worst time has been waiting twice.
BEAT_S = 0.05
LATE_S = 0.05
# A rush goes on for so long after the loop was last late: a queue that ended in a moment would be
# there again in the next.
CALM_AFTER_S = 1.0
# Fixes that go on in one turn of the loop; what comes meanwhile takes the place of those that wait.
# Source: 10 ms of work at 40 us each.
AT_ONCE = 256

_FIXES = ('42/rider,["location_update",', '42/rider,["update_location",')
_COALESCED = metrics.FIXES_DROPPED.labels("coalesced")


class _Guard:
    """Stands in a socket's way in."""

    __slots__ = ("_rush", "hear", "held", "session")

    def __init__(self, rush: "Rush", session: Session) -> None:
        self._rush = rush
        self.session = session
        self.hear = session.connection.hear_quickly
        self.held: str | None = None

    def take(self, text: str) -> bool:
        """Keep a fix until its turn; anything else goes on, after the fix before it."""
        if not text.startswith(_FIXES):
            self.release()
            return self.hear(text)
        if self.held is None:
            self._rush.line_up(self)
        else:
            self._rush.coalesced += 1
            # It goes no further, but it counts: a flood ends as it does at any other time.
            if not self.session.fixes.take(self._rush.clock.monotonic_s()):
                self.session.connection.strike()
        self.held = text
        return True

    def release(self) -> None:
        """Let the newest fix go on."""
        text, self.held = self.held, None
        connection = self.session.connection
        if text is not None and not connection.closed and not self.hear(text):
            connection.hear_slowly(text)


class Rush:
    """Watches the loop, and lets fixes overtake one another where it does not keep up."""

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions = sessions
        self.clock = clock
        self._guards: dict[Session, _Guard] = {}
        self._line: deque[_Guard] = deque()
        # How many sockets there were when they were guarded last.
        self._seen = 0
        self._late_at_s = 0.0
        self.is_on = False
        self.coalesced = 0

    async def watch(self) -> None:
        """Look at the loop, for as long as the server runs."""
        while True:
            before_s = self.clock.monotonic_s()
            await asyncio.sleep(BEAT_S)
            self.beat(self.clock.monotonic_s() - before_s - BEAT_S)

    def beat(self, late_s: float) -> None:
        """The loop came so much too late. Units: seconds."""
        now_s = self.clock.monotonic_s()
        if late_s > LATE_S:
            self._late_at_s = now_s
            if not self.is_on:
                metrics.RUSHES.inc()
            self.is_on = True
        elif self.is_on and now_s - self._late_at_s > CALM_AFTER_S:
            self._end()
        if self.is_on and len(self._sessions) != self._seen:
            self._guard()
        _COALESCED.inc(self.coalesced)
        metrics.FIXES_RECEIVED.inc(self.coalesced)
        self.coalesced = 0

    def line_up(self, guard: _Guard) -> None:
        """A socket has a fix that waits for its turn."""
        if not self._line:
            asyncio.get_running_loop().call_soon(self._serve)
        self._line.append(guard)

    def _serve(self) -> None:
        for _ in range(min(AT_ONCE, len(self._line))):
            self._line.popleft().release()
        if self._line:
            asyncio.get_running_loop().call_soon(self._serve)

    def _guard(self) -> None:
        """Stand in the way of every rider's socket that is here now."""
        self._seen = len(self._sessions)
        before, self._guards = self._guards, {}
        for session in self._sessions:
            if session.namespace == "/rider":
                guard = self._guards[session] = before.get(session) or _Guard(self, session)
                session.connection.hear_quickly = guard.take

    def _end(self) -> None:
        self.is_on, self._seen = False, 0
        while self._line:
            self._line.popleft().release()
        for guard in self._guards.values():
            connection = guard.session.connection
            # One that is closed, or was left for another session, has nobody in its way.
            if connection.hear_quickly == guard.take:
                connection.hear_quickly = guard.hear
        self._guards.clear()
