"""Checks of settings: invalid ones are refused in one line that names the variable."""

import base64

import pytest

from dispatch.settings import JWT_SECRET_BYTES_MIN, SettingsError, read
from dispatch.settings.checks import WEBHOOK_SECRET_BYTES_MIN

SECRET = "s" * JWT_SECRET_BYTES_MIN
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"w" * WEBHOOK_SECRET_BYTES_MIN).decode()


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
        ({"SERVICE_AREA": "4.05,9.7"}, "SERVICE_AREA must be lat,lng,km"),
        ({"SERVICE_AREA": "4.05,9.7,0"}, "SERVICE_AREA must be lat,lng,km"),
        ({"SERVICE_AREA": "Douala"}, "SERVICE_AREA must be lat,lng,km"),
        ({"SERVICE_AREA": " ; "}, "SERVICE_AREA names no circle"),
        ({"DRAIN_SPREAD_S": "-1"}, "DRAIN_SPREAD_S must not"),
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
