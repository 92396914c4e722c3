"""How much one client may ask: token buckets for sockets and for HTTP identities."""

from collections import OrderedDict

from dispatch.settings import Settings

# A second's worth may come at once twice: phones send in bursts when a radio wakes up.
# Source: wire contract names the rates only; twice the rate absorbs a one-second stall.
BURST_SECONDS = 2
# Requests over the limit that one connection may still make before it is cut, and how fast that
# patience grows again. Source: the official client empties a buffer of an outage at once, some 1 Hz
# fixes for a quarter of an hour; a flood reaches it within milliseconds.
PATIENCE = 1000
PATIENCE_PER_S = 10
# Identities whose HTTP bucket is kept; the one that asked longest ago goes first.
HTTP_IDENTITIES_MAX = 20_000
# Connections one address may begin, and addresses that are kept. Source: a mobile network hides
# thousands of phones behind one address, and all of them come back when a server restarts; a
# machine that only connects begins as many in half a minute.
CONNECTIONS_PER_S = 100
CONNECTIONS_BURST = 5_000
ADDRESSES_MAX = 20_000


class Bucket:
    """A token bucket that never blocks. Units: tokens, seconds of a steady clock."""

    __slots__ = ("_at_s", "_level", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._level = burst
        self._at_s = 0.0

    def take(self, now_s: float, tokens: float = 1.0) -> bool:
        """Take `tokens` if they are there."""
        level = self._level + (now_s - self._at_s) * self.rate_per_s
        self._at_s = now_s
        level = min(level, self.burst)
        if level < tokens:
            self._level = level
            return False
        self._level = level - tokens
        return True

    @property
    def remaining(self) -> int:
        """Whole tokens left after the last `take`."""
        return int(self._level)

    def wait_s(self, tokens: float = 1.0) -> float:
        """How long after the last `take` until `tokens` are there."""
        return max(0.0, (tokens - self._level) / self.rate_per_s)


class Unlimited(Bucket):
    """A bucket that is always full; for benches."""

    __slots__ = ()

    def take(self, now_s: float, tokens: float = 1.0) -> bool:
        """Always."""
        return True


class Limits:
    """The limits of the contract, or none at all where the settings say so."""

    def __init__(self, settings: Settings) -> None:
        self._kind = Bucket if settings.rate_limits == "on" else Unlimited
        self._commands_per_s = settings.commands_per_s
        self._fixes_per_s = settings.fixes_per_s
        self.http_per_min = settings.http_requests_per_min
        self._http: OrderedDict[str, Bucket] = OrderedDict()
        self._connections: OrderedDict[str, Bucket] = OrderedDict()

    def commands(self) -> Bucket:
        """A new socket's bucket for commands."""
        return self._kind(self._commands_per_s, self._commands_per_s * BURST_SECONDS)

    def fixes(self) -> Bucket:
        """A new socket's bucket for fixes."""
        return self._kind(self._fixes_per_s, self._fixes_per_s * BURST_SECONDS)

    def patience(self) -> Bucket:
        """A new connection's bucket for requests over the other limits; empty means cut."""
        return self._kind(PATIENCE_PER_S, PATIENCE)

    def http(self, who: str) -> Bucket:
        """The HTTP bucket of an identity, or of an address where nobody has signed in."""
        rate = (self.http_per_min / 60, self.http_per_min)
        return self._kept(self._http, who, rate, HTTP_IDENTITIES_MAX)

    def connections(self, address: str) -> Bucket:
        """The bucket of an address for new connections."""
        rate = (CONNECTIONS_PER_S, CONNECTIONS_BURST)
        return self._kept(self._connections, address, rate, ADDRESSES_MAX)

    def _kept(
        self, kept: OrderedDict[str, Bucket], who: str, rate: tuple[float, float], most: int
    ) -> Bucket:
        bucket = kept.get(who)
        if bucket is None:
            bucket = kept[who] = self._kind(*rate)
            if len(kept) > most:
                kept.popitem(last=False)
        else:
            kept.move_to_end(who)
        return bucket
