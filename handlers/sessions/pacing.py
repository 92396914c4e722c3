"""Pacing: delays the answers to an address that sends many requests without a valid token.

A refusal costs about as much as an answer, so that refusing alone stops nobody who does not wait
between requests; a connection whose answers are delayed cannot send more. Orchestrators' probes are
answered in any case, in time for their timeouts.
"""

from multidict import CIMultiDict, MultiMapping

from dispatch.clock import Clock
from handlers.sessions.client_address import TrustedProxies
from handlers.sessions.rate_limits import Rate, RateLimits

# Answers to one address before they are delayed, by one node. Source: chosen; loading the console
# takes some ten requests, an office of operators shares an address, and apps send a token.
ANONYMOUS_RATE = Rate("anonymous", 50, 200)
# Units: seconds. Source: chosen; forty connections then get 160 answers a second, a twentieth of a
# core, and an orchestrator's probe with the usual timeout of one second succeeds.
DELAY_S = 0.25
_NO_HEADERS: MultiMapping[str] = CIMultiDict()


class Pacing:
    """How long the answers to anonymous requests wait."""

    def __init__(self, limits: RateLimits, proxies: TrustedProxies, clock: Clock) -> None:
        self._limits = limits
        self._proxies = proxies
        self._clock = clock

    def delay_s(self, peer_address: str, headers: MultiMapping[str] = _NO_HEADERS) -> float:
        """Count an anonymous answer to a client; how long it is to wait. Units: seconds."""
        address = self._proxies.resolve_address(peer_address, headers)
        bucket = self._limits.bucket(ANONYMOUS_RATE, address)
        return 0.0 if bucket.take(self._clock.monotonic_s()) else DELAY_S
