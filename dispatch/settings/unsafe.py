"""Unsafe settings: allowed, but not what a company should run in production."""

from typing import NamedTuple
from urllib.parse import urlsplit

from dispatch.loopback import is_loopback
from dispatch.settings.model import Settings

# Settings with an address to which orders, phones or money are sent.
_ADDRESSES = ("redis_url", "dynamodb_endpoint", "code_url", "payout_url", "router_url")
# Schemes without TLS. Source: RFC 9110 section 4.2.1 for HTTP; redis-py for Redis.
_PLAIN_SCHEMES = frozenset({"http", "redis", "redis+cluster", "redis+sentinel"})


class UnsafeSetting(NamedTuple):
    """A setting that is unsafe, and what to do about it."""

    name: str
    advice: str


def find_unsafe(settings: Settings) -> list[UnsafeSetting]:
    """The unsafe settings of a server; under --dev nothing is."""
    if settings.dev:
        return []
    found = [
        UnsafeSetting(name.upper(), "it is sent in the clear: use an address with TLS")
        for name in _ADDRESSES
        if _is_plain(getattr(settings, name))
    ]
    if settings.embeds_redis or settings.embeds_dynamodb:
        advice = "orders and money are in DATA_DIR alone: name a Redis and a DynamoDB"
        found.append(UnsafeSetting("EMBEDDED", advice))
    return found


def _is_plain(url: str | None) -> bool:
    """Whether an address is of another machine and without TLS."""
    if url is None:
        return False
    parts = urlsplit(url)
    return parts.scheme in _PLAIN_SCHEMES and not is_loopback(parts.hostname)
