"""Settings: defaults, values from the environment, and one-line errors for invalid ones."""

import base64
from pathlib import Path

import pytest

from dispatch.settings import (
    DEV_DRAIN_SPREAD_S,
    JWT_SECRET_BYTES_MIN,
    WEBHOOK_SECRET_BYTES_MIN,
    Settings,
    SettingsError,
    read,
)

SECRET = "s" * JWT_SECRET_BYTES_MIN
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"w" * WEBHOOK_SECRET_BYTES_MIN).decode()


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
    ("environ", "message"),
    [
        ({"JWT_SECRET": "short"}, "JWT_SECRET must have at least"),
        ({"JWT_SECRET": ""}, "JWT_SECRET must have at least"),
        ({"PORT": "many"}, "PORT: "),
        ({"PORT": "65536"}, "PORT must be between"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL: "),
        ({"JWT_KEYS": f"new:{SECRET},new:{SECRET}"}, "names a kid twice"),
        ({"JWT_KEYS": "new:short"}, "JWT_KEYS must be"),
        ({"JWT_KEYS": f"no colon {SECRET}"}, "JWT_KEYS must be"),
        ({"TRUSTED_PROXIES": "10.0.0.0/33"}, "TRUSTED_PROXIES: "),
        ({"WEBHOOK_SECRET": "whsec_c2hvcnQ="}, "WEBHOOK_SECRET must be"),
        ({"WEBHOOK_SECRET": "whsec_%%%"}, "WEBHOOK_SECRET must be"),
        ({"CODE_URL": "https://sms"}, "CODE_URL needs WEBHOOK_SECRET"),
        ({"PAYOUT_URL": "https://pay"}, "PAYOUT_URL needs WEBHOOK_SECRET"),
        ({"PAYOUT_PROVIDER": "Big Bank"}, "PAYOUT_PROVIDER must be"),
        ({"RATE_LIMITS": "off"}, "needs --dev"),
        ({"CITY_PACE": "60"}, "needs --dev"),
        ({"RIDER_ORDERS_MAX": "11"}, "RIDER_ORDERS_MAX must be"),
        ({"ROLE": "edge"}, "ROLE=edge shares its stores"),
        ({"DRAIN_SPREAD_S": "-1"}, "DRAIN_SPREAD_S must not"),
    ],
)
def test_invalid_setting_is_named(environ: dict[str, str], message: str):
    """An invalid setting is refused in one line that names its variable."""
    with pytest.raises(SettingsError, match=message) as refused:
        read({"JWT_SECRET": SECRET, **environ})
    assert "\n" not in str(refused.value)


def test_keys_of_a_rotation_replace_the_secret():
    """With JWT_KEYS no JWT_SECRET is required; the keys keep their order."""
    settings = read({"JWT_KEYS": f"new:{SECRET}1,old:{SECRET}2"})
    assert settings.keys_by_id == {"new": f"{SECRET}1", "old": f"{SECRET}2"}
    assert list(settings.keys_by_id) == ["new", "old"]


def test_gateways_with_a_webhook_secret_are_accepted():
    """CODE_URL and PAYOUT_URL are accepted with a secret that signs requests to them."""
    settings = read_with(
        WEBHOOK_SECRET=WEBHOOK_SECRET, CODE_URL="https://sms", PAYOUT_URL="https://pay"
    )
    assert (settings.code_url, settings.payout_url) == ("https://sms", "https://pay")


def test_role_decides_what_a_process_does():
    """An edge serves sockets, an engine sweeps, and `all` does both."""
    stores = {"REDIS_URL": "redis://r", "DYNAMODB_ENDPOINT": "http://d"}
    duties = {
        role: (settings.has_sockets, settings.has_engine)
        for role in ("all", "edge", "engine")
        for settings in [read_with(ROLE=role, **stores)]
    }
    assert duties == {"all": (True, True), "edge": (True, False), "engine": (False, True)}


def test_unnamed_stores_are_embedded():
    """Redis is embedded without REDIS_URL, DynamoDB without an endpoint and an AWS key."""
    assert (read_with().embeds_redis, read_with().embeds_dynamodb) == (True, True)
    assert not read_with(REDIS_URL="redis://r").embeds_redis
    assert not read_with(DYNAMODB_ENDPOINT="http://d").embeds_dynamodb
    assert not read_with(AWS_ACCESS_KEY_ID="key").embeds_dynamodb
