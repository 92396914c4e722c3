"""What a server writes down about people: their ids, and nothing that they would mind."""

import re
from pathlib import Path

import pytest

from tests.e2e.conftest import start, stop
from tests.e2e.test_story import tell

# A base64 of `{"alg":`, a bearer's header, a Cameroonian number, an address and a place of the
# stories below, and degrees with more digits than a district needs.
PRIVATE = (
    r"eyJ|[Bb]earer|\+?2376\d{8}|Rue Joffre|Bali|Akwa|Bonanjo|whsec_|\b[49]\.\d{4,}|\"(lat|lng)\""
)


@pytest.fixture
def talkative(tmp_path: Path):
    """A server that logs all that it can."""
    running = start(tmp_path, LOG_LEVEL="debug")
    yield running
    stop(running)


@pytest.mark.slow
@pytest.mark.parametrize("story", ["story.mjs", "client.mjs"])
def test_a_log_holds_ids_and_no_secrets(talkative, story):
    """A whole day of the business at the lowest level: no phone, token, address or position."""
    assert "0 failed" in tell(story, talkative)
    log = talkative.log.read_text()
    found = [line for line in log.splitlines() if re.search(PRIVATE, line)]

    assert "ready" in log
    assert found == []


def test_what_is_searched_for_would_be_found():
    """The search knows a token, a number, an address and a position when it sees them."""
    seen = (
        "token=eyJhbGciOi.x.y", "call +237670000000", '{"lat":4.0511}', "to Rue Joffre",
        "at 9.70851", "Authorization: Bearer x",
    )  # fmt: skip
    assert [text for text in seen if not re.search(PRIVATE, text)] == []
