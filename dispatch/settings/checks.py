"""Rules that the settings must keep together, checked before the server starts."""

import base64
import ipaddress
import re
from collections.abc import Iterator, Sequence
from math import inf
from urllib.parse import urlsplit

import msgspec
import phonenumbers

from dispatch.loopback import is_loopback
from dispatch.service_area import OFF
from dispatch.settings.model import Secret, Settings, SettingsError
from dispatch.settings.redis_url import parse_redis_url

# Source: RFC 7518 section 3.2, a key for HS256 has at least the size of the hash.
JWT_SECRET_BYTES_MIN = 32
WEBHOOK_SECRET_BYTES_MIN = 24
# Coarser fixes are never shown (tracking.fixes.rules). Units: metres.
ACCURACY_LIMIT_MAX_M = 5_000

_PROVIDER = re.compile(r"[a-z0-9_]{1,32}")
# Source: chosen; RFC 7515 section 4.1.4 leaves the form of a `kid` open, and neither `:` nor `,`
# may appear in the list of keys.
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


# Numbers that may be 0; every other one is above 0.
_ZERO_ALLOWED = frozenset({"codes_per_day", "port", "metrics_port", "drain_spread_s"})
# Highest values. Source: a TCP port has 16 bits; the others are chosen.
_HIGHEST = {"port": 65_535, "metrics_port": 65_535, "rider_orders_max": 10}
_URLS = ("dynamodb_endpoint", "code_url", "payout_url", "router_url")


def check(settings: Settings) -> None:
    """Check the settings against their bounds and against each other.

    Errors: SettingsError names the variable and what is wrong with it.
    """
    _check_keys(settings)
    _check_numbers(settings)
    _check_urls(settings)
    _check_origins(settings)
    _check_proxies(settings)
    _check_gateways(settings)
    _check_secrets(settings)
    _check_approvals(settings)
    _check_service_area(settings)
    _check_stores(settings)
    _check_phones(settings)
    _check_http(settings)
    _check_accuracies(settings)
    _check_redis_url(settings)
    if settings.rate_limits == "off" and not settings.dev:
        raise SettingsError("RATE_LIMITS=off is for benches and needs --dev")
    if settings.city_pace != 1.0 and not settings.dev:
        raise SettingsError("CITY_PACE is for benches and needs --dev")
    if settings.fix_fresh_ms >= settings.fix_lost_ms:
        raise SettingsError("FIX_FRESH_MS must be below FIX_LOST_MS: a rider is stale before lost")
    if settings.drain_flush_ms >= settings.fix_fresh_ms:
        raise SettingsError("DRAIN_FLUSH_MS must be below FIX_FRESH_MS: fixes are written fresh")


def _check_numbers(settings: Settings) -> None:
    for name, value in msgspec.structs.asdict(settings).items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        lowest = 0 if name in _ZERO_ALLOWED else None
        highest = _HIGHEST.get(name, inf)
        # NaN fails every comparison.
        is_high_enough = value >= 0 if lowest == 0 else value > 0
        if not (is_high_enough and value <= highest and value < inf):
            bounds = "0 or more" if lowest == 0 else "above 0"
            limit = f" and at most {highest}" if highest < inf else ""
            raise SettingsError(f"{name.upper()} must be {bounds}{limit}, not {value}")


def _check_urls(settings: Settings) -> None:
    for name in _URLS:
        value = getattr(settings, name)
        if value is not None and not _is_http_url(value):
            raise SettingsError(f"{name.upper()} must be an address like https://host, not {value}")


def _is_http_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and has_port


def _check_origins(settings: Settings) -> None:
    """Source: RFC 6454 section 6.2, an origin is scheme, host and port; there are no wildcards."""
    for origin in settings.allowed_origins:
        if "*" in origin:
            raise SettingsError(f"ALLOWED_ORIGINS takes no wildcard ({origin}): list each origin")
        if not _is_http_url(origin) or origin != "{0.scheme}://{0.netloc}".format(urlsplit(origin)):
            raise SettingsError(
                f"ALLOWED_ORIGINS: {origin} is not an origin like https://app.example.com"
            )


def _check_stores(settings: Settings) -> None:
    if settings.role != "all" and (settings.embeds_redis or settings.embeds_dynamodb):
        raise SettingsError(
            f"ROLE={settings.role} shares its stores with other processes: "
            "set REDIS_URL and DYNAMODB_ENDPOINT (or AWS credentials)"
        )


def check_dev(settings: Settings, credentials: Sequence[str]) -> None:
    """Check that --dev does not open the company's own data to a network.

    It hands out operators' tokens, takes sandbox payments and shows sign-in codes: with the secret
    or the stores of a company it may only be reached from this machine. `credentials` are the
    variables with such secrets.

    Errors: SettingsError names the first variable that makes the server a company's.
    """
    if is_loopback(settings.host):
        return
    stores = {"REDIS_URL": settings.redis_url, "DYNAMODB_ENDPOINT": settings.dynamodb_endpoint}
    external = [
        name
        for name, url in stores.items()
        if url is not None and not is_loopback(urlsplit(url).hostname)
    ]
    if not settings.embeds_dynamodb and settings.dynamodb_endpoint is None:
        external.append("EMBEDDED=off")
    external += credentials
    if external:
        raise SettingsError(
            f"--dev hands out operators' tokens: with {external[0]} it may not listen at "
            f"HOST={settings.host}; start without --dev, or at 127.0.0.1"
        )


def check_stores(settings: Settings) -> None:
    """Check that a server knows where its Redis is; commands without a server need none.

    Errors: SettingsError.
    """
    if settings.redis_url is None and not settings.embeds_redis:
        raise SettingsError(
            "REDIS_URL is not set: name your Redis, or set EMBEDDED=on for engines of its own, "
            "which keep their data in DATA_DIR (--dev does so too)"
        )


def _check_redis_url(settings: Settings) -> None:
    if settings.redis_url is None:
        return
    try:
        parse_redis_url(settings.redis_url)
    except ValueError as error:
        raise SettingsError(f"REDIS_URL: {error}") from None


def _check_approvals(settings: Settings) -> None:
    if settings.two_person_above_xaf < 0:
        raise SettingsError(
            "TWO_PERSON_ABOVE_XAF must not be negative; 0 asks for two people for every amount"
        )


def _check_gateways(settings: Settings) -> None:
    for name in ("code_url", "payout_url"):
        if getattr(settings, name) and not getattr(settings, f"{name}_secret"):
            variable = name.upper()
            raise SettingsError(f"{variable} needs {variable}_SECRET, which signs what it is sent")
    if _PROVIDER.fullmatch(settings.payout_provider) is None:
        raise SettingsError("PAYOUT_PROVIDER must be 1 to 32 of a-z, 0-9 and _")


def _check_phones(settings: Settings) -> None:
    if settings.phone_region not in phonenumbers.SUPPORTED_REGIONS:
        raise SettingsError("PHONE_REGION must be a country in two capitals, such as CM")
    if not settings.countries_with_codes <= phonenumbers.SUPPORTED_REGIONS:
        raise SettingsError("CODE_COUNTRIES must be countries in two capitals, such as CM,GA")


def _check_http(settings: Settings) -> None:
    # Source: chosen; below ten seconds a client that reads an answer for a while finds its
    # connection closed, above an hour dead connections pile up.
    if not 10 <= settings.http_keepalive_s <= 3600:
        raise SettingsError("HTTP_KEEPALIVE_S must be between 10 and 3600 seconds")


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


def _check_accuracies(settings: Settings) -> None:
    for name in ("accuracy_marker_m", "accuracy_trail_m", "accuracy_index_m"):
        if not 1 <= getattr(settings, name) <= ACCURACY_LIMIT_MAX_M:
            raise SettingsError(f"{name.upper()} must be 1 to {ACCURACY_LIMIT_MAX_M} metres")
    if settings.accuracy_marker_m > settings.accuracy_index_m:
        raise SettingsError("ACCURACY_MARKER_M must not exceed ACCURACY_INDEX_M")


def _check_service_area(settings: Settings) -> None:
    try:
        area = settings.area
    except ValueError as error:
        raise SettingsError(f"SERVICE_AREA must be lat,lng,km;lat,lng,km: {error}") from error
    if not area.circles and settings.service_area.strip().lower() != OFF:
        raise SettingsError("SERVICE_AREA names no circle; SERVICE_AREA=off serves every place")


def _check_secrets(settings: Settings) -> None:
    """Each secret is strong, and has one use: who may verify with it must not sign with it."""
    uses: dict[bytes, str] = {}
    for use, secret in _webhook_secrets(settings):
        variable = use.partition(" ")[0]
        raw = _webhook_key(secret)
        if raw is None:
            raise SettingsError(f"{variable} must be whsec_ and at least 24 bytes in base64")
        if uses.setdefault(raw, use) != use:
            raise SettingsError(
                f"{variable} and {uses[raw].partition(' ')[0]} hold the same secret: each provider "
                "and direction needs its own"
            )
    for secret in (settings.jwt_secret, *settings.keys_by_id.values()):
        for raw in (secret.encode(), _webhook_key(secret)):
            if raw is not None and raw in uses:
                variable = uses[raw].partition(" ")[0]
                raise SettingsError(f"{variable} also signs tokens: it needs a secret of its own")


def _webhook_secrets(settings: Settings) -> Iterator[tuple[str, Secret]]:
    """Each secret of the gateways and providers, with its variable and its provider."""
    for name in ("payment_webhook_secrets", "payout_webhook_secrets"):
        for pair in getattr(settings, name):
            provider, colon, secret = pair.partition(":")
            if not colon or _PROVIDER.fullmatch(provider) is None:
                raise SettingsError(f"{name.upper()} must be provider:whsec_…,provider:whsec_…")
            yield f"{name.upper()} {provider}", secret
    for name in ("code_url_secret", "payout_url_secret"):
        for secret in getattr(settings, name):
            yield name.upper(), secret
    if settings.webhook_secret:
        yield "WEBHOOK_SECRET", settings.webhook_secret


def _webhook_key(secret: str) -> bytes | None:
    """The key in a secret; None for one that is too short or no base64.

    Source: Standard Webhooks, a secret of 24 to 64 random bytes in base64 behind `whsec_`.
    """
    try:
        raw = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return None
    return raw if len(raw) >= WEBHOOK_SECRET_BYTES_MIN else None
