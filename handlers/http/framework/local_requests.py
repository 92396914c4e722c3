"""Local requests: whether a program of this machine asks, and a page of this server."""

from aiohttp import web

from dispatch.loopback import is_loopback

# Headers by which proxies say that they forward. Source: RFC 7239, RFC 9110 section 7.6.3; the
# others are what common proxies add.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


def is_from_this_machine(request: web.Request) -> bool:
    """Whether a program of this machine asks, and no proxy that runs here forwards for another.

    The connecting address counts, never one that a header claims.
    """
    if any(name in request.headers for name in _FORWARDED):
        return False
    return is_loopback(request.remote)


def is_own_page(request: web.Request) -> bool:
    """Whether a page of this server asks, or the address bar, under a name of this machine.

    The host must be a loopback name: if the DNS name of evil.example is changed to point at
    127.0.0.1, the browser regards its page and this server as the same origin. A page at another
    port of this machine is of another origin.

    Source: Fetch Metadata, `Sec-Fetch-Site`; RFC 6454 for `Origin`.
    """
    if not is_loopback(request.url.host):
        return False
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    return origin is None or origin == f"http://{request.host}"
