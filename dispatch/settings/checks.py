"""Rules that the settings must keep together, checked before the server starts."""

import base64
import ipaddress
import re

from dispatch.service_area import OFF
from dispatch.settings.model import Settings, SettingsError

# Source: RFC 7518 section 3.2, a key for HS256 has at least the size of the hash.
JWT_SECRET_BYTES_MIN = 32
WEBHOOK_SECRET_BYTES_MIN = 24

_PROVIDER = re.compile(r"[a-z0-9_]{1,32}")
# Source: chosen; RFC 7515 section 4.1.4 leaves the form of a `kid` open, and neither `:` nor `,`
# may appear in the list of keys.
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def check(settings: Settings) -> None:
    """Check the settings against their bounds and against each other.

    Errors: SettingsError names the variable and what is wrong with it.
    """
    _check_keys(settings)
    _check_proxies(settings)
    _check_gateways(settings)
    _check_service_area(settings)
    if settings.rate_limits == "off" and not settings.dev:
        raise SettingsError("RATE_LIMITS=off is for benches and needs --dev")
    if settings.city_pace != 1.0 and not settings.dev:
        raise SettingsError("CITY_PACE is for benches and needs --dev")
    if not 1 <= settings.rider_orders_max <= 10 or settings.city_pace <= 0:
        raise SettingsError("RIDER_ORDERS_MAX must be 1 to 10, CITY_PACE above 0")
    if not 0 <= settings.port <= 65535:
        raise SettingsError(f"PORT must be between 0 and 65535, not {settings.port}")
    if settings.role != "all" and (settings.embeds_redis or settings.embeds_dynamodb):
        raise SettingsError(
            f"ROLE={settings.role} shares its stores with other processes: "
            "set REDIS_URL and DYNAMODB_ENDPOINT (or AWS credentials)"
        )
    if settings.drain_spread_s < 0 or settings.drain_deadline_s <= 0:
        raise SettingsError("DRAIN_SPREAD_S must not be negative, DRAIN_DEADLINE_S above 0")
    assert settings.fix_fresh_ms < settings.fix_lost_ms, "a rider is stale before lost"
    assert settings.drain_flush_ms < settings.fix_fresh_ms, "a fix reaches Redis while fresh"


def _check_gateways(settings: Settings) -> None:
    if settings.webhook_secret and not _is_webhook_secret(settings.webhook_secret):
        raise SettingsError("WEBHOOK_SECRET must be whsec_ and at least 24 bytes in base64")
    for name in ("code_url", "payout_url"):
        if getattr(settings, name) and not settings.webhook_secret:
            raise SettingsError(f"{name.upper()} needs WEBHOOK_SECRET, which signs what it is sent")
    if _PROVIDER.fullmatch(settings.payout_provider) is None:
        raise SettingsError("PAYOUT_PROVIDER must be 1 to 32 of a-z, 0-9 and _")


def _check_keys(settings: Settings) -> None:
    is_short = len(settings.jwt_secret.encode()) < JWT_SECRET_BYTES_MIN
    if is_short and (settings.jwt_secret or not settings.jwt_keys):
        raise SettingsError(
            f"JWT_SECRET must have at least {JWT_SECRET_BYTES_MIN} bytes "
            "(or start with --dev, which makes one)"
        )
    by_id = settings.keys_by_id
    for key_id, secret in by_id.items():
        if not _KEY_ID.fullmatch(key_id) or len(secret.encode()) < JWT_SECRET_BYTES_MIN:
            raise SettingsError(
                f"JWT_KEYS must be kid:secret,kid:secret with at least {JWT_SECRET_BYTES_MIN} "
                "bytes in each secret"
            )
    if len(by_id) < len(settings.jwt_keys):
        raise SettingsError("JWT_KEYS names a kid twice")


def _check_proxies(settings: Settings) -> None:
    for each in settings.trusted_proxies:
        try:
            ipaddress.ip_network(each)
        except ValueError as error:
            raise SettingsError(f"TRUSTED_PROXIES: {error}") from error


def _check_service_area(settings: Settings) -> None:
    try:
        area = settings.area
    except ValueError as error:
        raise SettingsError(f"SERVICE_AREA must be lat,lng,km;lat,lng,km: {error}") from error
    if not area.circles and settings.service_area.strip().lower() != OFF:
        raise SettingsError("SERVICE_AREA names no circle; SERVICE_AREA=off serves every place")


def _is_webhook_secret(secret: str) -> bool:
    """Source: Standard Webhooks, a secret of 24 to 64 random bytes in base64 behind `whsec_`."""
    try:
        raw = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return False
    return len(raw) >= WEBHOOK_SECRET_BYTES_MIN
