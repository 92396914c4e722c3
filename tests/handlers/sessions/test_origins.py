"""Origins: which web pages may call the server."""

import pytest

from dispatch.settings import Settings
from handlers.sessions.origins import AllowedOrigins

HOST = "dispatch.example:8080"


@pytest.mark.parametrize(
    ("origin", "dev", "is_allowed"),
    [
        ("https://ops.example", False, True),
        ("https://ops.example:444", False, False),
        ("https://evil.example", False, False),
        ("https://dispatch.example:8080", False, True),
        ("https://dispatch.example", False, False),
        ("http://localhost:5173", False, False),
        ("http://localhost:5173", True, True),
        ("http://[::1]:5173", True, True),
        ("http://localhost.evil.example", True, False),
        ("null", True, False),
        ("http://[", True, False),
        ("", True, False),
    ],
)
def test_allowed_are_the_list_the_servers_own_pages_and_local_ones_under_dev(
    origin: str, dev: bool, is_allowed: bool
):
    """Anything else is refused, also what is no URL."""
    origins = AllowedOrigins(Settings(allowed_origins=("https://ops.example",), dev=dev))
    assert origins.is_allowed(origin, HOST) is is_allowed
