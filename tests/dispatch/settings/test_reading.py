"""Reading of settings: defaults, values from the environment, and what --dev makes."""

from pathlib import Path

from dispatch.settings import DEV_DRAIN_SPREAD_S, JWT_SECRET_BYTES_MIN, Settings, read

SECRET = "s" * JWT_SECRET_BYTES_MIN


def read_with(**environ: str) -> Settings:
    return read({"JWT_SECRET": SECRET, **environ})


def test_secret_is_all_that_is_required():
    """With a JWT_SECRET every other setting has its default."""
    assert read_with() == Settings(jwt_secret=SECRET)


def test_values_have_the_type_of_their_setting():
    """Numbers, paths and lists are read from text; empty variables count as not set."""
    settings = read_with(
        PORT="9000", DATA_DIR="/tmp/x", ALLOWED_ORIGINS="https://a, ,https://b", HOST=""
    )
    assert (settings.port, settings.data_dir) == (9000, Path("/tmp/x"))
    assert settings.allowed_origins == ("https://a", "https://b")
    assert settings.host == "127.0.0.1"


def test_other_variables_are_ignored():
    """The environment may hold variables that are no settings; `DEV` is only an option."""
    assert read_with(PATH="/bin", DEV="1") == Settings(jwt_secret=SECRET)


def test_dev_makes_a_secret_and_stops_at_once():
    """Under --dev a new secret is made each time, and sockets are closed within half a second."""
    first, second = read({}, dev=True), read({}, dev=True)
    assert len(first.jwt_secret) >= JWT_SECRET_BYTES_MIN
    assert first.jwt_secret != second.jwt_secret
    assert first.drain_spread_s == DEV_DRAIN_SPREAD_S
