"""Device clock: relates the times in one phone's fixes to the server's clock; pure.

A phone's time orders the fixes of one stream. Whether a fix is new is decided by its arrival: a
clock may be off by years, go back an hour, or stand still, and the phone is still there.
"""

# Source: chosen; live fixes are at least a second apart (the fastest reporting interval is 2 s),
# and a buffer that is sent at once arrives within milliseconds, one that waits for each answer
# within a round trip.
LIVE_GAP_MIN_MS = 900
# A buffer's fixes lie farther apart than they arrive, a live stream's do not: how much farther its
# times may lie for jitter of the network and drift of the clock. Source: chosen; a fix that was
# delayed by a second is followed by one that seems a second early.
PACE_MAX, PACE_SLACK_MS = 1.25, 1_500
# A clock that advances by less than this share of the server's is none: it stands still, or counts
# seconds. Source: chosen; no quartz is off by more than a thousandth.
PACE_MIN = 0.25
# A time so far ahead of the clock may be a single wrong one: the offset from before is kept, and a
# fix that is not older than this by it shows that it holds. Source: chosen; phones set their clocks
# by network to within seconds.
JUMP_MIN_MS = 10_000

# The offset of an unusable clock: with it every time lies in the future.
_UNUSABLE_MS = 2**80


class DeviceClock:
    """The clock of one phone, as far as its fixes show it.

    `offset_ms` is added to the phone's time to get the server's; 0 trusts the phone. Times that lie
    in the future lower the offset at once, because no fix is made after it arrives.

    Units: Unix milliseconds.
    """

    __slots__ = ("_odd_at_ms", "_odd_ts", "_offset_before_ms", "offset_ms", "step_count")

    def __init__(self, offset_ms: int = 0) -> None:
        self.offset_ms = offset_ms
        # How often the clock was set, as far as it was noticed.
        self.step_count = 0
        # Arrival and phone time of the last fix whose time did not fit.
        self._odd_at_ms = 0
        self._odd_ts: int | None = None
        # The offset before the last jump ahead.
        self._offset_before_ms: int | None = None

    def follow(self, ts: int, now_ms: int) -> None:
        """Lower the offset where a fix comes from the future. Units: Unix milliseconds."""
        offset_ms = now_ms - ts
        if self.is_unusable or offset_ms >= self.offset_ms:
            return
        if offset_ms < self.offset_ms - JUMP_MIN_MS:
            self._offset_before_ms = self.offset_ms
            self.step_count += 1
        self.offset_ms = offset_ms

    def ms_at(self, now_ms: int) -> int:
        """What the phone's clock shows now; an unusable one the server's time. Units: Unix ms."""
        return now_ms if self.is_unusable else now_ms - self.offset_ms

    @property
    def is_unusable(self) -> bool:
        """Whether the phone's times say nothing; fixes are of the time of their arrival."""
        return self.offset_ms == _UNUSABLE_MS

    def trust_again(self) -> None:
        """Use the times of a phone that has connected again, where they said nothing before."""
        if self.is_unusable:
            self.offset_ms = 0

    def take_steps(self) -> int:
        """How often the clock was set since the last call."""
        steps, self.step_count = self.step_count, 0
        return steps

    def is_live(self, ts: int | None, now_ms: int, accepted_at_ms: int) -> bool:
        """Whether a fix whose time does not fit was made now, so that the clock must be wrong.

        Its time is older than that of the fix before, or too old to be shown. The first such fix
        may be an old one that was kept; it is remembered. A second one in a row, which arrives as
        live fixes do, shows that the clock was set, stands still or is unusable: then the clock is
        set to the fix. So does one that fits the clock as it was before it jumped ahead.
        `accepted_at_ms` is when the last fix was accepted.

        Units: Unix milliseconds; `ts` is None where the fix has no time.
        """
        before_ms = self._offset_before_ms
        if ts is not None and before_ms is not None:
            self._offset_before_ms = None
            if 0 <= now_ms - ts - before_ms <= JUMP_MIN_MS:
                self.offset_ms = before_ms
                return True
        odd_at_ms, odd_ts = self._odd_at_ms, self._odd_ts
        self._odd_at_ms, self._odd_ts = now_ms, ts
        gap_ms = now_ms - odd_at_ms
        if odd_at_ms <= accepted_at_ms or gap_ms < LIVE_GAP_MIN_MS:
            return False
        if ts is not None and odd_ts is not None:
            if ts - odd_ts > gap_ms * PACE_MAX + PACE_SLACK_MS:
                return False
            is_clock = not 0 <= ts - odd_ts < gap_ms * PACE_MIN
            self.offset_ms = now_ms - ts if is_clock else _UNUSABLE_MS
            self.step_count += 1
        return True


class SettledClock(DeviceClock):
    """The clock by which old fixes of a phone are dated; they never set it."""

    __slots__ = ()

    def is_live(self, ts: int | None, now_ms: int, accepted_at_ms: int) -> bool:
        """No old fix was made now."""
        return False
