"""Client address of a request that comes through reverse proxies, and its network for limits."""

import ipaddress

import structlog
from aiohttp import web
from multidict import MultiMapping

from dispatch import metrics
from dispatch.clock import Clock, SystemClock
from dispatch.settings import Settings

_HEADER = "X-Forwarded-For"
# What proxies add; RFC 7239 defines the second, which is not read.
_PROXY_HEADERS = (_HEADER, "Forwarded")
# Time between two warnings about such a header of a peer that is not trusted. Source: chosen; a new
# deployment's log shows it soon, and a client that forges it causes six lines an hour.
WARNING_EVERY_S = 600.0
# Source: RFC 6177 and RFC 7084: a customer gets a network of 64 bits or more, and a machine in it
# takes as many addresses as it likes.
IPV6_PREFIX_BITS = 64

log = structlog.get_logger(__name__)
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """The operator's reverse proxies, whose X-Forwarded-For header is trusted.

    Source: chosen; without it every client behind a proxy would have the proxy's address, and all
    of them would share one rate limit.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._warn_from_s = 0.0
        self._trusted = tuple(ipaddress.ip_network(each) for each in settings.trusted_proxies)

    def client_address(self, request: web.BaseRequest) -> str:
        """The address of the nearest machine that is not a trusted proxy."""
        return self.resolve_address(request.remote or "", request.headers)

    def resolve_address(self, peer_address: str, headers: MultiMapping[str]) -> str:
        """The client address for a connection from `peer_address` with these headers.

        Source: RFC 7239 section 7.4: the list of hops is reliable from its right end for as long
        as the proxies that wrote it are trusted; whatever is left of that may be forged.
        """
        address = peer_address
        if not self._is_trusted(address):
            self._check_untrusted(address, headers)
            return address
        hops = ",".join(headers.getall(_HEADER, [])).split(",")
        while hops and self._is_trusted(address):
            hop = _parse_address(hops.pop())
            if hop is None:
                break
            address = str(hop)
        return address

    def _check_untrusted(self, peer_address: str, headers: MultiMapping[str]) -> None:
        """Count and log headers of a proxy that is not trusted: its clients share one address."""
        if not any(name in headers for name in _PROXY_HEADERS):
            return
        parsed = _parse_address(peer_address)
        # A peer in a private network is most likely the operator's own proxy.
        peer = "private" if parsed is not None and parsed.is_private else "public"
        metrics.FORWARDED_IGNORED.labels(peer).inc()
        now_s = self._clock.monotonic_s()
        if now_s < self._warn_from_s:
            return
        self._warn_from_s = now_s + WARNING_EVERY_S
        log.warning(
            "forwarded_address_ignored",
            peer=peer,
            hint="all clients of an untrusted proxy share its address and its rate limits; "
            "set TRUSTED_PROXIES to the addresses of your proxies",
        )

    def _is_trusted(self, address: str) -> bool:
        if not self._trusted:
            return False
        parsed = _parse_address(address)
        return parsed is not None and any(parsed in network for network in self._trusted)


def network_of(address: str) -> str:
    """The network whose clients share one rate limit: an IPv4 address, or a /64 of IPv6.

    A text that is no address is its own network.
    """
    parsed = _parse_address(address)
    if not isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed or address)
    bits = int(parsed) >> (128 - IPV6_PREFIX_BITS) << (128 - IPV6_PREFIX_BITS)
    return f"{ipaddress.IPv6Address(bits)}/{IPV6_PREFIX_BITS}"


def _parse_address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    # A socket that accepts IPv4 and IPv6 reports IPv4 peers as IPv4-mapped IPv6 addresses.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
