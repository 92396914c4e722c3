"""Console files: the built operators' console under /console/, and its token under --dev."""

import re
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from dispatch.loopback import is_loopback
from handlers.http.framework.local_requests import is_from_this_machine, is_own_page

MOUNT = "/console/"
NOT_BUILT = "The console is not built: run `npm ci && npm run build` beside package.json.\n"

# The page may load files of its own origin only. MapLibre draws images from memory (blob:, data:),
# and its style sheet contains icons (data:).
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
# The build puts a content hash into the names of the files below this.
HASHED_PREFIX = "assets/"
# Source: RFC 8246, `immutable`; RFC 2616 section 14.21, at most one year.
CACHE_IMMUTABLE = "public, max-age=31536000, immutable"
CACHE_REVALIDATE = "no-cache"
CACHE_NEVER = "no-store"
# Only files with these suffixes are served: what the build writes, and an operator's own map tiles.
# Python's `mimetypes` would guess differently on each platform.
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

# The built page asks the user to paste a token; under --dev the served page fetches one instead.
_PASTE_MODE = 'content="paste"'
_FETCH_MODE = 'content="fetch"'
# No part may start with a dot: `..` and hidden files are not served.
_NAME = re.compile(r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*", re.ASCII)
# Source: chosen; file systems refuse names of more than 255 bytes with an error.
_NAME_CHARS_MAX = 200


def add_console(app: web.Application, *, dist: Path, dev_token: Callable[[], str] | None) -> None:
    """Serve the built console from `dist` under /console/, and redirect / to it.

    `dev_token` issues an operator's token to the page, for --dev and on the same machine; with None
    there is none (404).
    """
    files = _ConsoleFiles(dist.resolve(), dev_token)
    app.router.add_get("/", _redirect_to_console)
    app.router.add_get(MOUNT.rstrip("/"), _redirect_to_console)
    app.router.add_get(f"{MOUNT}session.json", files.get_session)
    app.router.add_get(f"{MOUNT}{{name:.*}}", files.get_file)


async def _redirect_to_console(request: web.Request) -> web.Response:
    # Percent-encoded as it was sent: decoded, a line break would end the header.
    raw_query = request.rel_url.raw_query_string
    query = f"?{raw_query}" if raw_query else ""
    return web.Response(status=302, headers={"Location": MOUNT + query})


class _ConsoleFiles:
    """Handlers for the files of the built console and for its token."""

    def __init__(self, dist: Path, dev_token: Callable[[], str] | None) -> None:
        self._dist = dist
        self._dev_token = dev_token

    async def get_session(self, request: web.Request) -> web.Response:
        """An operator's token for the page; only under --dev, and only on this machine."""
        headers = {**HEADERS, "Cache-Control": CACHE_NEVER}
        may_have_it = is_from_this_machine(request) and is_own_page(request)
        if self._dev_token is None or not may_have_it:
            return web.Response(status=404, text="no such file\n", headers=headers)
        return web.json_response({"token": self._dev_token()}, headers=headers)

    async def get_file(self, request: web.Request) -> web.StreamResponse:
        """One file of the console."""
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
        if name == "index.html" and self._gives_tokens(request):
            html = path.read_text(encoding="utf-8").replace(_PASTE_MODE, _FETCH_MODE)
            return web.Response(body=html.encode(), headers=headers)
        return web.FileResponse(path, headers=headers)

    def _gives_tokens(self, request: web.Request) -> bool:
        """Whether the page that is served to this caller can fetch a token."""
        is_here = is_from_this_machine(request) and is_loopback(request.url.host)
        return self._dev_token is not None and is_here

    def _find_file(self, name: str) -> Path | None:
        if len(name) > _NAME_CHARS_MAX or not _NAME.fullmatch(name):
            return None
        path = self._dist / name
        return path if path.suffix in CONTENT_TYPES and path.is_file() else None

    def _not_found_response(self, name: str) -> web.Response:
        headers = {**HEADERS, "Cache-Control": CACHE_NEVER}
        if not (self._dist / "index.html").is_file():
            return web.Response(status=503, text=NOT_BUILT, headers=headers)
        return web.Response(status=404, text=f"no such file: {name[:80]!r}\n", headers=headers)
