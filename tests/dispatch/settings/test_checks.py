"""Checks of settings: invalid ones are refused in one line that names the variable."""

import base64
import itertools

import msgspec
import pytest

from dispatch.settings import (
    JWT_SECRET_BYTES_MIN,
    Settings,
    SettingsError,
    check_stores,
    read,
)
from dispatch.settings.checks import WEBHOOK_SECRET_BYTES_MIN

SECRET = "s" * JWT_SECRET_BYTES_MIN
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"w" * WEBHOOK_SECRET_BYTES_MIN).decode()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"JWT_SECRET": "short"}, "JWT_SECRET must have at least"),
        ({"JWT_SECRET": ""}, "JWT_SECRET must have at least"),
        ({"PORT": "many"}, "PORT: "),
        ({"PORT": "65536"}, "PORT must be 0 or more and at most 65535"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL: .*one of debug, info, warning, error"),
        ({"ROLE": "server"}, "ROLE: .*one of all, edge, engine"),
        ({"JWT_KEYS": f"new:{SECRET},new:{SECRET}"}, "names a kid twice"),
        ({"JWT_KEYS": "new:short"}, "JWT_KEYS must be"),
        ({"JWT_KEYS": f"no colon {SECRET}"}, "JWT_KEYS must be"),
        ({"TRUSTED_PROXIES": "10.0.0.0/33"}, "TRUSTED_PROXIES: "),
        ({"WEBHOOK_SECRET": "whsec_c2hvcnQ="}, "WEBHOOK_SECRET must be"),
        ({"WEBHOOK_SECRET": "whsec_%%%"}, "WEBHOOK_SECRET must be"),
        ({"CODE_URL": "https://sms", "WEBHOOK_SECRET": WEBHOOK_SECRET}, "needs CODE_URL_SECRET"),
        ({"PAYOUT_URL": "https://p", "WEBHOOK_SECRET": WEBHOOK_SECRET}, "needs PAYOUT_URL_SECRET"),
        ({"CODE_URL_SECRET": "whsec_c2hvcnQ="}, "CODE_URL_SECRET must be"),
        ({"PAYOUT_URL_SECRET": f"{WEBHOOK_SECRET},x"}, "PAYOUT_URL_SECRET must be"),
        ({"PAYMENT_WEBHOOK_SECRETS": WEBHOOK_SECRET}, "PAYMENT_WEBHOOK_SECRETS must be"),
        ({"PAYMENT_WEBHOOK_SECRETS": "momo:whsec_"}, "PAYMENT_WEBHOOK_SECRETS must be"),
        ({"PAYOUT_WEBHOOK_SECRETS": f"Bank:{WEBHOOK_SECRET}"}, "PAYOUT_WEBHOOK_SECRETS must be"),
        ({"PAYOUT_PROVIDER": "Big Bank"}, "PAYOUT_PROVIDER must be"),
        ({"PHONE_REGION": "cm"}, "PHONE_REGION must be"),
        ({"PHONE_REGION": "237"}, "PHONE_REGION must be"),
        ({"RATE_LIMITS": "off"}, "needs --dev"),
        ({"CITY_PACE": "60"}, "needs --dev"),
        ({"RIDER_ORDERS_MAX": "11"}, "RIDER_ORDERS_MAX must be"),
        ({"SERVICE_AREA": "4.05,9.7"}, "SERVICE_AREA must be lat,lng,km"),
        ({"SERVICE_AREA": "4.05,9.7,0"}, "SERVICE_AREA must be lat,lng,km"),
        ({"SERVICE_AREA": "Douala"}, "SERVICE_AREA must be lat,lng,km"),
        ({"SERVICE_AREA": " ; "}, "SERVICE_AREA names no circle"),
        ({"ROLE": "edge", "EMBEDDED": "on"}, "ROLE=edge shares its stores"),
        ({"COMPLETED_FAR_M": "-1"}, "COMPLETED_FAR_M must be above 0"),
        ({"CASH_SHORTAGE": "vendor"}, "CASH_SHORTAGE: "),
        ({"DRAIN_SPREAD_S": "-1"}, "DRAIN_SPREAD_S must be 0 or more"),
        ({"DRAIN_SPREAD_S": "nan"}, "DRAIN_SPREAD_S must be 0 or more"),
        ({"HTTP_REQUESTS_PER_MIN": "0"}, "HTTP_REQUESTS_PER_MIN must be above 0"),
        ({"HTTP_KEEPALIVE_S": "9.9"}, "HTTP_KEEPALIVE_S must be between 10 and 3600"),
        ({"HTTP_KEEPALIVE_S": "3601"}, "HTTP_KEEPALIVE_S must be between 10 and 3600"),
        ({"FRAME_BYTES_MAX": "-1"}, "FRAME_BYTES_MAX must be above 0"),
        ({"FIX_FRESH_MS": "45000"}, "FIX_FRESH_MS must be below FIX_LOST_MS"),
        ({"DRAIN_FLUSH_MS": "15000"}, "DRAIN_FLUSH_MS must be below FIX_FRESH_MS"),
        ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS takes no wildcard"),
        ({"ALLOWED_ORIGINS": "https://*.example.com"}, "ALLOWED_ORIGINS takes no wildcard"),
        ({"ALLOWED_ORIGINS": "https://a.example.com/"}, "is not an origin like https://"),
        ({"ALLOWED_ORIGINS": "a.example.com"}, "is not an origin like https://"),
        ({"ALLOWED_ORIGINS": "null"}, "is not an origin like https://"),
        ({"DYNAMODB_ENDPOINT": "localhost:8000"}, "DYNAMODB_ENDPOINT must be an address"),
        ({"ROUTER_URL": "osrm"}, "ROUTER_URL must be an address"),
        ({"ROUTER_URL": "http://osrm:port"}, "ROUTER_URL must be an address"),
        ({"ACCURACY_MARKER_M": "0.5"}, "ACCURACY_MARKER_M must be 1 to 5000"),
        ({"ACCURACY_TRAIL_M": "5001"}, "ACCURACY_TRAIL_M must be 1 to 5000"),
        ({"ACCURACY_INDEX_M": "49"}, "ACCURACY_MARKER_M must not exceed"),
    ],
)
def test_invalid_setting_is_named(environ: dict[str, str], message: str):
    """An invalid setting is refused in one line that names its variable."""
    with pytest.raises(SettingsError, match=message) as refused:
        read({"JWT_SECRET": SECRET, **environ})
    assert "\n" not in str(refused.value)


def whsec(letter: str) -> str:
    return "whsec_" + base64.b64encode(letter.encode() * 24).decode()


USES = {
    "WEBHOOK_SECRET": "{}",
    "PAYMENT_WEBHOOK_SECRETS": "momo:{}",
    "PAYOUT_WEBHOOK_SECRETS": "bank:{}",
    "CODE_URL_SECRET": "{}",
    "PAYOUT_URL_SECRET": "{}",
}


def test_each_use_has_a_secret_of_its_own():
    """Five uses with five secrets are accepted, and with two each during a rotation."""
    environ = {
        name: f"{form.format(whsec(letter))},{form.format(whsec(letter.upper()))}"
        for letter, (name, form) in zip("abcde", USES.items(), strict=True)
        if name != "WEBHOOK_SECRET"
    }
    settings = read({"JWT_SECRET": SECRET, "WEBHOOK_SECRET": whsec("a"), **environ})
    assert settings.payment_secrets == {"momo": (whsec("b"), whsec("B"))}
    assert settings.payout_secrets == {"bank": (whsec("c"), whsec("C"))}
    assert settings.code_url_secret == (whsec("d"), whsec("D"))
    assert settings.payout_url_secret == (whsec("e"), whsec("E"))


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(USES, 2)))
def test_a_secret_with_two_uses_is_refused(first: str, second: str):
    """Whoever verifies with it could sign with it; with and without the prefix it is the same."""
    environ = {first: USES[first].format(whsec("a")), second: USES[second].format(whsec("a")[6:])}
    with pytest.raises(SettingsError, match="hold the same secret") as refused:
        read({"JWT_SECRET": SECRET, **environ})
    assert first in str(refused.value)
    assert second in str(refused.value)
    assert whsec("a")[6:] not in str(refused.value)


def test_two_providers_share_no_secret():
    """Nor do two of one setting."""
    shared = f"momo:{whsec('a')},orange:{whsec('a')}"
    with pytest.raises(SettingsError, match="hold the same secret"):
        read({"JWT_SECRET": SECRET, "PAYMENT_WEBHOOK_SECRETS": shared})


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize(("jwt", "form"), [("JWT_SECRET", "{}"), ("JWT_KEYS", "new:{}")])
@pytest.mark.parametrize("secret", [whsec("t" * 2), "t" * 48])
def test_a_token_secret_has_no_other_use(name: str, jwt: str, form: str, secret: str):
    """Neither as it is written nor as the bytes that it encodes."""
    environ = {name: USES[name].format(whsec("t" * 2)), jwt: form.format(secret)}
    with pytest.raises(SettingsError, match=f"{name} also signs tokens"):
        read({"JWT_SECRET": SECRET, **environ})


def test_every_number_has_a_lowest_value():
    """No number may be negative, whatever setting it is."""
    numbers = [
        name
        for name, value in msgspec.structs.asdict(Settings()).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    assert len(numbers) > 10
    for name in numbers:
        with pytest.raises(SettingsError, match=f"^{name.upper()} must be"):
            read({"JWT_SECRET": SECRET, name.upper(): "-1"}, dev=True)


def test_a_server_needs_a_redis():
    """Without REDIS_URL and embedded engines a server does not start; other commands do."""
    without = read({"JWT_SECRET": SECRET})
    with pytest.raises(SettingsError, match=r"REDIS_URL is not set: .*EMBEDDED=on"):
        check_stores(without)
    for environ in ({"REDIS_URL": "redis://r"}, {"EMBEDDED": "on"}):
        check_stores(read({"JWT_SECRET": SECRET, **environ}))


COMPANY = {
    "JWT_SECRET": SECRET,
    "JWT_KEYS": f"new:{SECRET}",
    "REDIS_URL": "redis://redis.example:6379",
    "DYNAMODB_ENDPOINT": "http://dynamodb.example:8000",
    "AWS_ACCESS_KEY_ID": "AKIA",
}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "server.example"])
@pytest.mark.parametrize("name", COMPANY)
def test_dev_with_a_companys_data_is_not_for_a_network(name: str, host: str):
    """Its secret or stores and an address that others reach: one line says what to change."""
    environ = {name: COMPANY[name], "HOST": host}
    with pytest.raises(SettingsError, match=f"--dev.*{name}.*HOST={host}") as refused:
        read(environ, dev=True)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.0.1"])
@pytest.mark.parametrize("name", COMPANY)
def test_dev_with_a_companys_data_may_run_on_a_laptop(name: str, host: str):
    """At a loopback address only programs of the machine reach it."""
    assert read({name: COMPANY[name], "HOST": host}, dev=True).host == host


@pytest.mark.parametrize(
    "stores",
    [
        {},
        {"REDIS_URL": "redis://127.0.0.1:6379", "DYNAMODB_ENDPOINT": "http://localhost:8000"},
        {"REDIS_URL": "redis://[::1]:6379"},
    ],
)
def test_a_demo_in_a_container_may_listen_everywhere(stores: dict[str, str]):
    """Without a company's secret, and with engines of its own."""
    assert read({"HOST": "0.0.0.0", **stores}, dev=True).dev
