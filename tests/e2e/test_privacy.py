"""Server logs contain ids of users, but no personal data and no secrets."""

import re
from pathlib import Path

import pytest

from tests.e2e.local_server import start_server, stop_server
from tests.e2e.node_script import run_script

# A base64 of `{"alg":`, a bearer's header, a Cameroonian number, addresses and places of the
# scripts below, and degrees with more digits than a district needs.
PRIVATE_PATTERN = (
    r"eyJ|[Bb]earer|\+?2376\d{8}|Rue Joffre|Bali|Akwa|Bonanjo|whsec_|\b[49]\.\d{4,}|\"(lat|lng)\""
)


@pytest.fixture
def debug_server(tmp_path: Path):
    """A server with the log level debug."""
    started = start_server(tmp_path, LOG_LEVEL="debug")
    yield started
    stop_server(started)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["order_lifecycle.mjs", "official_client.mjs"])
def test_a_log_holds_ids_and_no_secrets(debug_server, script):
    """At level debug no phone number, token, address or position is logged."""
    assert "0 failed" in run_script(script, debug_server)
    log = debug_server.log.read_text()
    found = [line for line in log.splitlines() if re.search(PRIVATE_PATTERN, line)]

    assert "ready" in log
    assert found == []


def test_the_pattern_finds_private_data():
    """The pattern finds a token, a number, an address and a position."""
    private_texts = (
        "token=eyJhbGciOi.x.y", "call +237670000000", '{"lat":4.0511}', "to Rue Joffre",
        "at 9.70851", "Authorization: Bearer x",
    )  # fmt: skip
    assert [text for text in private_texts if not re.search(PRIVATE_PATTERN, text)] == []
