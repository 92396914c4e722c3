"""The operators' page: the built files of console/, and a token for it on a developer's machine."""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

MOUNT = "/console/"
NOT_BUILT = "The console is not built: run `npm ci && npm run build` beside package.json.\n"

# What the page may load: itself and nothing else. MapLibre draws images from memory (blob:, data:)
# and its style sheet has icons inside (data:).
# Source: Content Security Policy level 3; MapLibre GL JS documentation, "CSP Directives".
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# The build puts a hash of the content into the names of these.
HASHED_PREFIX = "assets/"
# Source: RFC 8246; a year is the longest that RFC 2616 section 14.21 let a server promise.
CACHE_IMMUTABLE = "public, max-age=31536000, immutable"
CACHE_REVALIDATE = "no-cache"
CACHE_NEVER = "no-store"
# Only what the build makes, and an operator's own tiles, is served; the platform's guesses differ.
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".json": "application/json",
    ".pbf": "application/x-protobuf",
    ".pmtiles": "application/octet-stream",
}

# The page asks for a token of its own accord only where the server says that there is one.
_PASTE_MODE = 'content="paste"'
_FETCH_MODE = 'content="fetch"'
# No dot at the start of a part: neither `..` nor a hidden file is a file of the page.
_NAME = re.compile(r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*", re.ASCII)


def add_console(app: web.Application, *, dist: Path, dev_token: Callable[[], str] | None) -> None:
    """Serve the built console from `dist` under /console/, and send / there.

    `dev_token` makes an operator's token for whoever asks; None, in production, answers 404.
    """
    page = _ConsoleFiles(dist.resolve(), dev_token)
    app.router.add_get("/", _redirect_to_console)
    app.router.add_get(MOUNT.rstrip("/"), _redirect_to_console)
    app.router.add_get(f"{MOUNT}session.json", page.get_session)
    app.router.add_get(f"{MOUNT}{{name:.*}}", page.get_file)


async def _redirect_to_console(request: web.Request) -> web.Response:
    query = f"?{request.query_string}" if request.query_string else ""
    return web.Response(status=302, headers={"Location": MOUNT + query})


class _ConsoleFiles:
    def __init__(self, dist: Path, dev_token: Callable[[], str] | None) -> None:
        self._dist = dist
        self._dev_token = dev_token

    async def get_session(self, request: web.Request) -> web.Response:
        """A token for the page, only from a server under --dev."""
        headers = {**HEADERS, "Cache-Control": CACHE_NEVER}
        if self._dev_token is None or not _is_safe_from_dns_rebinding(request.url.host):
            return web.Response(status=404, text="no such file\n", headers=headers)
        return web.json_response({"token": self._dev_token()}, headers=headers)

    async def get_file(self, request: web.Request) -> web.StreamResponse:
        """One file of the page."""
        name = request.match_info["name"] or "index.html"
        path = self._find_file(name)
        if path is None:
            return self._not_found_response(name)
        caching = CACHE_IMMUTABLE if name.startswith(HASHED_PREFIX) else CACHE_REVALIDATE
        headers = {
            **HEADERS,
            "Cache-Control": caching,
            "Content-Type": CONTENT_TYPES[path.suffix],
        }
        if name == "index.html" and self._dev_token is not None:
            html = path.read_text(encoding="utf-8").replace(_PASTE_MODE, _FETCH_MODE)
            return web.Response(body=html.encode(), headers=headers)
        return web.FileResponse(path, headers=headers)

    def _find_file(self, name: str) -> Path | None:
        if not _NAME.fullmatch(name):
            return None
        path = self._dist / name
        return path if path.suffix in CONTENT_TYPES and path.is_file() else None

    def _not_found_response(self, name: str) -> web.Response:
        headers = {**HEADERS, "Cache-Control": CACHE_NEVER}
        if not (self._dist / "index.html").is_file():
            return web.Response(status=503, text=NOT_BUILT, headers=headers)
        return web.Response(status=404, text=f"no such file: {name[:80]!r}\n", headers=headers)


def _is_safe_from_dns_rebinding(host: str | None) -> bool:
    """Whether no stranger's DNS can have brought the browser here under this name.

    A page of evil.example whose name suddenly points at 127.0.0.1 is of the same origin as ours
    in the browser's eyes; an address or `localhost` cannot be made to point elsewhere.
    """
    if host is None:
        return False
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
