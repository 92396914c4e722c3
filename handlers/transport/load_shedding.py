"""While the server is late, only the newest fix of each socket is worth its work.

Before step 1 of a fix's way: the sockets → [here] → handlers.sockets.rider.
"""

import asyncio
from collections import deque

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.wire.frames import FIX_PREFIXES
from handlers.sessions.session_registry import Session, SessionRegistry

# The loop is asked so often whether it is late, and what is late. Source: promise, positions are at
# most 250 ms old in an overload; what comes at once at the worst time has been waiting twice.
CHECK_EVERY_S = 0.05
LAG_THRESHOLD_S = 0.05
# A rush goes on for so long after the loop was last late: a queue that ended in a moment would be
# there again in the next.
RECOVERY_S = 1.0
# Fixes that go on in one turn of the loop; what comes meanwhile takes the place of those that wait.
# Source: 10 ms of work at 40 us each.
FIXES_PER_TICK = 256

_COALESCED = metrics.FIXES_DROPPED.labels("coalesced")


class _FixCoalescer:
    """Stands in a socket's way in."""

    __slots__ = ("_shedder", "latest_fix", "session", "try_fast_path")

    def __init__(self, shedder: "LoadShedder", session: Session) -> None:
        self._shedder = shedder
        self.session = session
        self.try_fast_path = session.connection.try_fast_path
        self.latest_fix: str | None = None

    def coalesce(self, text: str) -> bool:
        """Keep a fix until its turn; anything else goes on, after the fix before it."""
        if not text.startswith(FIX_PREFIXES):
            self.flush()
            return self.try_fast_path(text)
        if self.latest_fix is None:
            self._shedder.enqueue(self)
        else:
            self._shedder.coalesced_count += 1
            # It goes no further, but it counts: a flood ends as it does at any other time.
            if not self.session.fix_bucket.take(self._shedder.clock.monotonic_s()):
                self.session.connection.count_violation()
        self.latest_fix = text
        return True

    def flush(self) -> None:
        """Let the newest fix go on."""
        text, self.latest_fix = self.latest_fix, None
        connection = self.session.connection
        if text is not None and not connection.closed and not self.try_fast_path(text):
            connection.run_slow_path(text)


class LoadShedder:
    """Watches the loop, and lets fixes overtake one another where it does not keep up."""

    def __init__(self, sessions: SessionRegistry, clock: Clock) -> None:
        self._sessions = sessions
        self.clock = clock
        self._coalescers: dict[Session, _FixCoalescer] = {}
        self._queue: deque[_FixCoalescer] = deque()
        # How many sockets there were when they were guarded last.
        self._session_count = 0
        self._lagged_at_s = 0.0
        self.is_shedding = False
        self.coalesced_count = 0

    async def run(self) -> None:
        """Look at the loop, for as long as the server runs."""
        while True:
            before_s = self.clock.monotonic_s()
            await asyncio.sleep(CHECK_EVERY_S)
            self.record_lag(self.clock.monotonic_s() - before_s - CHECK_EVERY_S)

    def record_lag(self, lag_s: float) -> None:
        """The loop came so much too late. Units: seconds."""
        now_s = self.clock.monotonic_s()
        if lag_s > LAG_THRESHOLD_S:
            self._lagged_at_s = now_s
            if not self.is_shedding:
                metrics.LOAD_SHEDDING_STARTS.inc()
            self.is_shedding = True
        elif self.is_shedding and now_s - self._lagged_at_s > RECOVERY_S:
            self._stop_shedding()
        if self.is_shedding and len(self._sessions) != self._session_count:
            self._install_coalescers()
        _COALESCED.inc(self.coalesced_count)
        metrics.FIXES_RECEIVED.inc(self.coalesced_count)
        self.coalesced_count = 0

    def enqueue(self, coalescer: _FixCoalescer) -> None:
        """A socket has a fix that waits for its turn."""
        if not self._queue:
            asyncio.get_running_loop().call_soon(self._process_queue)
        self._queue.append(coalescer)

    def _process_queue(self) -> None:
        for _ in range(min(FIXES_PER_TICK, len(self._queue))):
            self._queue.popleft().flush()
        if self._queue:
            asyncio.get_running_loop().call_soon(self._process_queue)

    def _install_coalescers(self) -> None:
        """Stand in the way of every rider's socket that is here now."""
        self._session_count = len(self._sessions)
        before, self._coalescers = self._coalescers, {}
        for session in self._sessions:
            if session.namespace == "/rider":
                guard = self._coalescers[session] = before.get(session) or _FixCoalescer(
                    self, session
                )
                session.connection.try_fast_path = guard.coalesce

    def _stop_shedding(self) -> None:
        self.is_shedding, self._session_count = False, 0
        while self._queue:
            self._queue.popleft().flush()
        for guard in self._coalescers.values():
            connection = guard.session.connection
            # One that is closed, or was left for another session, has nobody in its way.
            if connection.try_fast_path == guard.coalesce:
                connection.try_fast_path = guard.try_fast_path
        self._coalescers.clear()
