"""Origins: which web pages may call the server (CORS, WebSocket handshakes)."""

from urllib.parse import urlsplit

from dispatch.settings import Settings

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class AllowedOrigins:
    """The operator's allow-list; the server's own pages always, local pages under --dev."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = frozenset(settings.allowed_origins)
        self._dev = settings.dev

    def is_allowed(self, origin: str, host: str) -> bool:
        """Tell whether a page of `origin` may call a server addressed as `host`.

        Source: RFC 6454 section 6.2; browsers send an origin with every WebSocket handshake.
        """
        if origin in self._allowed:
            return True
        try:
            page = urlsplit(origin)
            is_local = page.hostname in _LOCAL_HOSTS
        except ValueError:
            return False
        return page.netloc == host or (self._dev and is_local)
