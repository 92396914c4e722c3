"""Whose address a request comes from, when it comes through proxies."""

import ipaddress

from aiohttp import web
from multidict import MultiMapping

from dispatch.settings import Settings

_HEADER = "X-Forwarded-For"
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """The operator's own proxies; nobody else is believed about who asks.

    Source: reliability design, hole 10: the stock driver says 127.0.0.1 for everyone.
    """

    def __init__(self, settings: Settings) -> None:
        self._trusted = tuple(ipaddress.ip_network(each) for each in settings.trusted_proxies)

    def client_address(self, request: web.BaseRequest) -> str:
        """The address of the nearest machine that is none of our proxies."""
        return self.resolve_address(request.remote or "", request.headers)

    def resolve_address(self, peer_address: str, headers: MultiMapping[str]) -> str:
        """The same, of the machine that is connected and what it says.

        Source: RFC 7239 section 7.4, a list of hops is true from its right end as far as those
        who wrote it are trusted; whatever stands left of that is the client's own word.
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
    # A server that listens at both kinds sees the old one inside the new one.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
