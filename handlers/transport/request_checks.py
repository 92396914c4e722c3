"""Request checks: what is refused by its request line and headers, before routing or a token."""

import re
from typing import Final, NamedTuple

from aiohttp import HttpVersion10, web

# Source: measured 2026-11-30, the router takes 10 ms for a path of 8,000 slashes; the longest path
# of docs/http.md with two ids of 64 characters has less than 200.
PATH_CHARS_MAX: Final = 1_024
# Source: measured 2026-11-30, parsing 4,000 parameters takes 1.2 ms; no route has more than ten.
QUERY_PARAMETERS_MAX: Final = 32
# Source: RFC 3986 section 3.2.2, without user information; containers' names have underscores.
_HOST_FORM: Final = re.compile(
    r"(?:[A-Za-z0-9._~-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{0,5}))?", re.ASCII
)
_PORT_MAX: Final = 65_535
# Headers that answers repeat.
_REFLECTED: Final = ("Origin", "Access-Control-Request-Headers")
# Methods for which the library makes a tunnel or an echo of the request.
_UNSUPPORTED_METHODS: Final = frozenset({"CONNECT", "TRACE"})


class RequestFault(NamedTuple):
    """Why a request is refused."""

    status: int
    code: str
    message: str


_NOT_ASCII: Final = RequestFault(400, "malformed", "the request target must be plain ASCII")
_HOST: Final = RequestFault(400, "malformed", "Host must be a name or an address, and a port")
_REFLECTED_FAULT: Final = RequestFault(
    400, "malformed", f"{' and '.join(_REFLECTED)} must be plain ASCII"
)
_VERSION: Final = RequestFault(400, "malformed", "HTTP/1.0 or HTTP/1.1 is required")
_LONG_PATH: Final = RequestFault(414, "malformed", f"at most {PATH_CHARS_MAX} characters of path")
_MANY_PARAMETERS: Final = RequestFault(
    400, "malformed", f"at most {QUERY_PARAMETERS_MAX} query parameters"
)
_METHOD: Final = RequestFault(501, "method_not_allowed", "this method is not supported")
_ENCODED: Final = RequestFault(
    415, "unsupported_encoding", "the body must be sent as it is, without a Content-Encoding"
)


def find_fault(request: web.BaseRequest) -> RequestFault | None:
    """The first reason to refuse a request, or None.

    Source: RFC 3986 section 2, a target is ASCII; the library decodes other bytes to surrogates,
    which no encoder takes. RFC 9110 section 15.5.16 for encoded bodies: nothing is decompressed,
    because a few kilobytes may inflate to a gigabyte.
    """
    path, _, query = request.raw_path.partition("?")
    headers = request.headers
    if not request.raw_path.isascii():
        return _NOT_ASCII
    if request.version < HttpVersion10:
        return _VERSION
    if not _is_host(headers.get("Host", "")):
        return _HOST
    if not all(headers.get(name, "").isascii() for name in _REFLECTED):
        return _REFLECTED_FAULT
    if len(path) > PATH_CHARS_MAX:
        return _LONG_PATH
    if query.count("&") >= QUERY_PARAMETERS_MAX:
        return _MANY_PARAMETERS
    if request.method in _UNSUPPORTED_METHODS:
        return _METHOD
    if "Content-Encoding" in headers or "Transfer-Encoding" in headers:
        return None if _is_plain(request) else _ENCODED
    return None


def _is_host(text: str) -> bool:
    match = _HOST_FORM.fullmatch(text)
    return match is not None and int(match["port"] or 0) <= _PORT_MAX


def _is_plain(request: web.BaseRequest) -> bool:
    """Whether a body has no encoding other than being sent in chunks."""
    content = ",".join(request.headers.getall("Content-Encoding", []))
    transfer = ",".join(request.headers.getall("Transfer-Encoding", []))
    return _tokens(content) <= {"identity"} and _tokens(transfer) <= {"chunked"}


def _tokens(header: str) -> set[str]:
    return {token for part in header.split(",") if (token := part.strip().lower())}
