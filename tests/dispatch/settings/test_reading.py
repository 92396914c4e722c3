"""Reading of settings: defaults, values from the environment, and what --dev makes."""

from pathlib import Path

import pytest

from dispatch.settings import (
    DEV_DRAIN_SPREAD_S,
    JWT_SECRET_BYTES_MIN,
    Settings,
    SettingsError,
    read,
)

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


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("REDIS_URI", "REDIS_URL"),
        ("JWT_SECRETS", "JWT_SECRET"),
        ("DATADIR", "DATA_DIR"),
        ("ALLOWED_ORIGIN", "ALLOWED_ORIGINS"),
        ("DYNAMO_DB_TABLE", "DYNAMODB_TABLE"),
    ],
)
def test_a_mistyped_name_is_refused(name: str, setting: str):
    """A variable that is nearly a setting's name would be ignored in silence."""
    message = f"^{name} is not a setting: rename it to {setting}, or unset it$"
    with pytest.raises(SettingsError, match=message):
        read_with(**{name: "x"})


@pytest.mark.parametrize(
    "name",
    ["HOSTNAME", "LOGNAME", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "REDIS_PORT", "NODE_ENV",
     "REEYO_NODE_MODULES", "HOME", "PATH", "TERM", "LANG", "REDIS_PASSWORD"],
)  # fmt: skip
def test_names_of_other_programs_are_not_mistaken(name: str):
    """What a shell, AWS or an orchestrator sets is no mistyped setting."""
    assert read_with(**{name: "x"}) == Settings(jwt_secret=SECRET)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
    ],
)
def test_half_a_pair_of_aws_keys_is_refused(given: str, missing: str):
    """One AWS key without the other signs nothing; embedded engines need neither."""
    with pytest.raises(SettingsError, match=f"^{missing} is not set"):
        read_with(**{given: "x"})
    assert read_with(**{given: "x"}, EMBEDDED="on").embeds_dynamodb


def test_dev_lets_every_role_register():
    """Elsewhere only customers do; what is given counts in both."""
    assert (read_with().accounts, read({}, dev=True).accounts) == ("users", "all")
    assert read({"ACCOUNTS": "off"}, dev=True).accounts == "off"
    assert read({}, dev=True).require_approval == read_with().require_approval == "accounts"
