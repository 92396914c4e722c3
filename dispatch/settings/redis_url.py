"""Redis URL: where Redis is, and whether one server, a cluster or Sentinel serves it."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

REDIS_PORT, SENTINEL_PORT = 6379, 26379


class RedisMode(StrEnum):
    """How Redis is served."""

    ONE_SERVER = "one_server"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


class RedisUrl(NamedTuple):
    """A Redis URL, taken apart. `url` is what the Redis library reads, without our suffixes.

    With Sentinel `addresses` are those of the sentinels, and `service` is the name under which they
    watch the primary; user, password and database in `url` are the servers' own.
    """

    mode: RedisMode
    url: str
    addresses: Sequence[tuple[str, int]] = ()
    service: str = ""
    sentinel_username: str | None = None
    sentinel_password: str | None = None


_MODES = {
    "redis": RedisMode.ONE_SERVER,
    "rediss": RedisMode.ONE_SERVER,
    "unix": RedisMode.ONE_SERVER,
    "redis+cluster": RedisMode.CLUSTER,
    "rediss+cluster": RedisMode.CLUSTER,
    "redis+sentinel": RedisMode.SENTINEL,
    "rediss+sentinel": RedisMode.SENTINEL,
}
_FORMS = (
    "use redis://[user:password@]host:port/db, rediss:// for TLS, redis+cluster://host:port or "
    "redis+sentinel://host:port,host:port/service/db"
)
# No message repeats what was given: it may be part of a password.
_BAD_ADDRESS = (
    "the address is not host:port with a port up to 65535 (in a password write / as %2F, @ as %40)"
)
# Source: redis-py's connection arguments for certificates. Others would override our timeouts.
_QUERY_PREFIX, _QUERY_NAMES = "ssl_", frozenset({"client_name"})
_SENTINEL_NAMES = frozenset({"sentinel_username", "sentinel_password"})


def parse_redis_url(url: str) -> RedisUrl:
    """Take a Redis URL apart.

    Errors: ValueError says what is wrong in one line, without the password.
    """
    scheme, separator, rest = url.strip().partition("://")
    mode = _MODES.get(scheme.lower())
    if not separator:
        raise ValueError(f"it has no scheme; {_FORMS}")
    if mode is None:
        raise ValueError(f"{scheme}:// is not a scheme of Redis; {_FORMS}")
    place, _, query_text = rest.partition("?")
    query = _parse_query(query_text, mode)
    if scheme.lower() == "unix":
        return _parse_unix(place)
    authority, _, path = place.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    default_port = SENTINEL_PORT if mode is RedisMode.SENTINEL else REDIS_PORT
    addresses = [_parse_address(each, default_port) for each in hosts.split(",")]
    if len(addresses) > 1 and mode is not RedisMode.SENTINEL:
        raise ValueError("only redis+sentinel:// takes several addresses")
    service, database = _split_path(path, mode)
    sentinel_login = (query.pop("sentinel_username", None), query.pop("sentinel_password", None))
    # With Sentinel this address is replaced before each connect.
    host, port = addresses[0]
    library_url = (
        f"{scheme.lower().partition('+')[0]}://{credentials}{at}"
        f"{f'[{host}]' if ':' in host else host}:{port}/{database}"
    )
    if query:
        library_url += f"?{urlencode(query)}"
    return RedisUrl(mode, library_url, addresses, service, *sentinel_login)


def _parse_query(text: str, mode: RedisMode) -> dict[str, str]:
    found: Mapping[str, list[str]] = parse_qs(text, keep_blank_values=True)
    allowed = _QUERY_NAMES | (_SENTINEL_NAMES if mode is RedisMode.SENTINEL else frozenset())
    for name in found:
        if name not in allowed and not name.startswith(_QUERY_PREFIX):
            raise ValueError("after ? only client_name, ssl_... and, for Sentinel, sentinel_...")
    return {name: values[-1] for name, values in found.items()}


def _parse_unix(path: str) -> RedisUrl:
    if not path.startswith("/"):
        raise ValueError("unix:// needs the path of a socket, as in unix:///run/redis.sock")
    return RedisUrl(RedisMode.ONE_SERVER, f"unix://{path}")


def _split_path(path: str, mode: RedisMode) -> tuple[str, str]:
    """The service and the database of a path. Errors: ValueError."""
    service = ""
    if mode is RedisMode.SENTINEL:
        service, _, path = path.partition("/")
        if not service:
            raise ValueError("redis+sentinel:// needs the name of the service, as in /mymaster/0")
    if path and not path.isdecimal():
        raise ValueError("the database must be a number")
    if mode is RedisMode.CLUSTER and path.strip("0"):
        raise ValueError("a cluster has no database but 0")
    return unquote(service), path


def _parse_address(text: str, default_port: int) -> tuple[str, int]:
    """Host and port. Errors: ValueError."""
    try:
        found = urlsplit(f"//{text}")
        host, port = found.hostname, found.port
    except ValueError:
        raise ValueError(_BAD_ADDRESS) from None
    if not host or port == 0 or found.path or any(mark.isspace() for mark in text):
        raise ValueError(_BAD_ADDRESS)
    return host, port or default_port
