"""Checks of settings: invalid ones are refused in one line that names the variable."""

import base64

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
        ({"CODE_URL": "https://sms"}, "CODE_URL needs WEBHOOK_SECRET"),
        ({"PAYOUT_URL": "https://pay"}, "PAYOUT_URL needs WEBHOOK_SECRET"),
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


def test_gateways_with_a_webhook_secret_are_accepted():
    """CODE_URL and PAYOUT_URL are accepted with a secret that signs requests to them."""
    urls = {"CODE_URL": "https://sms", "PAYOUT_URL": "https://pay"}
    settings = read({"JWT_SECRET": SECRET, "WEBHOOK_SECRET": WEBHOOK_SECRET, **urls})
    assert (settings.code_url, settings.payout_url) == ("https://sms", "https://pay")


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
