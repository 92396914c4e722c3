"""What is refused by its request line and headers; the bytes are in test_http_connection.py."""

import pytest
from aiohttp import HttpVersion, web
from aiohttp.test_utils import make_mocked_request

from handlers.transport.request_checks import PATH_CHARS_MAX, QUERY_PARAMETERS_MAX, find_fault


def status_of(request: web.Request) -> int | None:
    """The status of a request's refusal, or None."""
    fault = find_fault(request)
    return fault.status if fault else None


@pytest.mark.parametrize("version", [(1, 0), (1, 1)])
@pytest.mark.parametrize(
    "host",
    ["", "x", "x:", "x:1", "x:65535", "api.example.com:8080", "my_service", "[::1]:80", "10.0.0.1"],
)
def test_a_usual_request_passes(version: tuple[int, int], host: str):
    """Names and addresses of both families, with and without a port."""
    headers = {"Host": host, "Content-Encoding": "Identity", "Transfer-Encoding": "chunked"}
    request = make_mocked_request(
        "POST", "/api/v1/orders?limit=5", headers, version=HttpVersion(*version)
    )
    assert find_fault(request) is None


@pytest.mark.parametrize(
    "host",
    ["x:65536", "x:123456", "x:a", "a@b", "x/y", "x y", "x?", "[x]", "[::1", "::1", "é"],
)
def test_another_host_is_refused(host: str):
    """Nothing that the library could not make an address of."""
    assert status_of(make_mocked_request("GET", "/", {"Host": host})) == 400


def test_bounds_hold_exactly():
    """The longest path and the most parameters pass; one more does not."""
    longest = "/" + "a" * (PATH_CHARS_MAX - 1)
    most = "/?" + "&".join("a" * QUERY_PARAMETERS_MAX)
    assert [status_of(make_mocked_request("GET", path)) for path in (longest, most)] == [None] * 2
    assert status_of(make_mocked_request("GET", longest + "a")) == 414
    assert status_of(make_mocked_request("GET", most + "&a")) == 400
    # A cursor may be longer than a path.
    assert status_of(make_mocked_request("GET", "/?cursor=" + "a" * 4_000)) is None


@pytest.mark.parametrize("name", ["Content-Encoding", "Transfer-Encoding"])
@pytest.mark.parametrize(
    "value", ["gzip", "x-gzip", "deflate", "br", "zstd", "identity, br", "a;q=1"]
)
def test_an_encoded_body_is_refused(name: str, value: str):
    """415 for every encoding, also for one that the library does not know."""
    assert status_of(make_mocked_request("POST", "/", {name: value})) == 415
