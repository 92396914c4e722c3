"""Client address of a request that comes through reverse proxies (X-Forwarded-For)."""

import ipaddress

from aiohttp import web
from multidict import MultiMapping

from dispatch.settings import Settings

_HEADER = "X-Forwarded-For"
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """The operator's reverse proxies, whose X-Forwarded-For header is trusted.

    Source: chosen; without it every client behind a proxy would have the proxy's address, and all
    of them would share one rate limit.
    """

    def __init__(self, settings: Settings) -> None:
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
        if not self._trusted:
            return address
        hops = ",".join(headers.getall(_HEADER, [])).split(",")
        while hops and self._is_trusted(address):
            hop = _parse_address(hops.pop())
            if hop is None:
                break
            address = str(hop)
        return address

    def _is_trusted(self, address: str) -> bool:
        parsed = _parse_address(address)
        return parsed is not None and any(parsed in network for network in self._trusted)


def _parse_address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    # A socket that accepts IPv4 and IPv6 reports IPv4 peers as IPv4-mapped IPv6 addresses.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
