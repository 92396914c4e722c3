"""Sign-in codes: derived digits, and challenges that name the network that asked."""

import pytest

from dispatch.accounts.store import Login
from dispatch.settings import Settings
from handlers.sessions.auth import Tokens
from handlers.sessions.sign_in_codes import challenge_of, network_source, source_of_challenge

TOKENS = Tokens(Settings(jwt_secret="s" * 32))
LOGIN = Login("USER", "+237690123456")


def test_a_source_reveals_no_address():
    """One network has another source for each login, and under another key."""
    other_key = Tokens(Settings(jwt_secret="t" * 32))
    sources = {
        network_source(TOKENS, LOGIN, "41.202.207.1"),
        network_source(TOKENS, LOGIN, "41.202.207.2"),
        network_source(TOKENS, Login("RIDER", LOGIN.phone), "41.202.207.1"),
        network_source(other_key, LOGIN, "41.202.207.1"),
    }
    assert len(sources) == 4
    assert "41.202" not in "".join(sources)


def test_a_challenge_names_the_source_of_its_login():
    """It is read back for its login, and is no challenge of another."""
    source = network_source(TOKENS, LOGIN, "41.202.207.1")
    challenge = challenge_of(TOKENS, LOGIN, source)
    assert source_of_challenge(TOKENS, LOGIN, challenge) == source
    assert source_of_challenge(TOKENS, Login("RIDER", LOGIN.phone), challenge) is None


@pytest.mark.parametrize("challenge", [None, "", ".", "a.b", "\u00e9", "0" * 65])
def test_anything_else_is_no_challenge(challenge: str | None):
    """Also a source without its signature, or with one of another source."""
    source = network_source(TOKENS, LOGIN, "41.202.207.1")
    signature = challenge_of(TOKENS, LOGIN, source).partition(".")[2]
    for forged in (challenge, source, f"{source}.", f"{'0' * 32}.{signature}"):
        assert source_of_challenge(TOKENS, LOGIN, forged) is None
