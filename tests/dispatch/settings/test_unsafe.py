"""Unsafe settings are found in production, and not under --dev or on one machine."""

import pytest

from dispatch.settings import JWT_SECRET_BYTES_MIN, read
from dispatch.settings.unsafe import find_unsafe

SECRET = "s" * JWT_SECRET_BYTES_MIN


@pytest.mark.parametrize(
    ("environ", "unsafe"),
    [
        ({"REDIS_URL": "redis://cache.internal"}, ["REDIS_URL"]),
        ({"REDIS_URL": "redis+cluster://10.0.0.7:7000"}, ["REDIS_URL"]),
        ({"REDIS_URL": "rediss://cache.internal"}, []),
        ({"REDIS_URL": "redis://127.0.0.1:6379"}, []),
        ({"REDIS_URL": "redis://[::1]:6379"}, []),
        ({"REDIS_URL": "redis://127.evil.example"}, ["REDIS_URL"]),
        ({"REDIS_URL": "redis://localhost", "ROUTER_URL": "http://osrm:5000"}, ["ROUTER_URL"]),
        (
            {"REDIS_URL": "rediss://r", "DYNAMODB_ENDPOINT": "http://dynamodb:8000"},
            ["DYNAMODB_ENDPOINT"],
        ),
        ({"EMBEDDED": "on"}, ["EMBEDDED"]),
    ],
)
def test_unsafe_settings_are_named(environ: dict[str, str], unsafe: list[str]):
    """Each address without TLS on another machine, and embedded engines, are named once."""
    settings = read({"JWT_SECRET": SECRET, **environ})
    assert [each.name for each in find_unsafe(settings)] == unsafe
    assert find_unsafe(read({"JWT_SECRET": SECRET, **environ}, dev=True)) == []
