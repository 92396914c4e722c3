"""Settings: every option of the server with its unit, default and reason, from the environment."""

import base64
import ipaddress
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

# Source: RFC 7518 section 3.2, a key for HS256 has at least the size of the hash.
JWT_SECRET_BYTES_MIN = 32
WEBHOOK_SECRET_BYTES_MIN = 24

# The default of `drain_spread_s` under --dev, so that Ctrl-C ends the server at once.
DEV_DRAIN_SPREAD_S = 0.5

# Settings whose value is a comma-separated list.
_LISTS = frozenset({"allowed_origins", "jwt_keys", "trusted_proxies"})
_PROVIDER = re.compile(r"[a-z0-9_]{1,32}")
# Source: chosen; RFC 7515 section 4.1.4 leaves the form of a `kid` open, and neither `:` nor `,`
# may appear in the list of keys.
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Secret = str
Role = Literal["all", "edge", "engine"]


class SettingsError(Exception):
    """A setting is missing or invalid; the server cannot start."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server's settings; each field is an environment variable, in lower case.

    Units: as the suffix says: milliseconds for `_ms`, seconds for `_s`, bytes for `_bytes`.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    # edge: serves sockets and HTTP; engine: may be the live engine of its zone; all: both.
    role: Role = "all"
    jwt_secret: Secret = ""
    # Keys of tokens whose header has a `kid`, as `kid:secret`; the first one signs our tokens. A
    # key rotation lists two. JWT_SECRET, where set, verifies tokens without a `kid`.
    jwt_keys: tuple[Secret, ...] = ()
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    redis_url: str | None = None
    dynamodb_endpoint: str | None = None
    dynamodb_table: str = "reeyo"
    aws_region: str = "eu-west-1"
    aws_access_key_id: str | None = None
    allowed_origins: tuple[str, ...] = ()
    # Addresses or networks of our own proxies, whose X-Forwarded-For is trusted.
    trusted_proxies: tuple[str, ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    data_dir: Path = Path("data")
    rate_limits: Literal["on", "off"] = "on"
    # Verifies `POST /webhooks/payments/{provider}` and signs requests to CODE_URL; a Standard
    # Webhooks secret (`whsec_` + base64).
    webhook_secret: Secret = ""
    # The company's gateway for text messages: it receives `{phone, code, expiresAt}`, signed.
    # Without it sign-in by code is off, except under --dev, where the answer contains the code.
    code_url: str | None = None
    # The provider of MOBILE_MONEY payments; the sandbox confirms by itself, only under --dev.
    payment_provider: str = "sandbox"
    # The company's gateway for payouts and its name in paths and records; without it an operator
    # pays by hand, or the sandbox does under --dev. WEBHOOK_SECRET signs requests to it and its
    # reports to `POST /webhooks/payouts/{provider}`.
    payout_url: str | None = None
    payout_provider: str = "gateway"
    dev: bool = False

    # Period of the position writer: a fix waits at most this long before it is sent to Redis.
    # Source: bench/two_nodes.py, 2026-11-21: a fix reaches a watcher on another node after this
    # and some 10 ms more; its goal is 60 ms.
    drain_flush_ms: int = 40
    # Riders whose newest fix may wait for the position writer; above it the oldest entry is dropped
    # and counted.
    drain_riders_max: int = 100_000
    # Without a fix a rider gets no offer after `fix_fresh_ms`, is offline after `fix_lost_ms`.
    # Source: docs/contract.md for 15 s; 45 s is chosen, several reporting intervals more.
    fix_fresh_ms: int = 15_000
    fix_lost_ms: int = 45_000
    # Orders that a rider may carry at once. Source: docs/contract.md, one by default.
    rider_orders_max: int = 1
    # Speed-up of the simulated riders and kitchens when a day is replayed; only under --dev.
    city_pace: float = 1.0
    # The company's routing engine, asked for ETAs; without one they are estimated from the distance
    # and the speeds observed on the streets.
    router_url: str | None = None
    router_kind: Literal["osrm", "valhalla"] = "osrm"
    # Above it our own estimate is used; a router in the same network answers in some 10 ms.
    router_timeout_ms: int = 800
    # Source: chosen; no message of docs/contract.md comes near 16 KiB.
    frame_bytes_max: int = 16 * 1024
    http_body_bytes_max: int = 64 * 1024
    # Source: docs/contract.md, default limits.
    commands_per_s: int = 20
    fixes_per_s: int = 10
    http_requests_per_min: int = 300
    ping_interval_s: int = 10
    ping_timeout_s: int = 10
    # A stopping server closes its sockets one by one over `drain_spread_s`, so that they do not all
    # reconnect at once; `drain_deadline_s` is then left for the last writes.
    # Source: docs/promises.md, all clients are back within 10 s, which leaves 4 s for connecting;
    # orchestrators kill after 30 s.
    drain_spread_s: float = 6.0
    drain_deadline_s: float = 4.0

    @property
    def keys_by_id(self) -> dict[str, Secret]:
        """The token keys by their `kid`, in the order of the setting."""
        pairs = (each.partition(":") for each in self.jwt_keys)
        return {key_id: secret for key_id, _, secret in pairs}

    @property
    def has_sockets(self) -> bool:
        """Whether this process serves sockets and HTTP."""
        return self.role != "engine"

    @property
    def has_engine(self) -> bool:
        """Whether this process may be the live engine and runs the sweeps."""
        return self.role != "edge"

    @property
    def embeds_redis(self) -> bool:
        """Whether an embedded Valkey is started."""
        return self.redis_url is None

    @property
    def embeds_dynamodb(self) -> bool:
        """Whether an embedded DynamoDB engine is started."""
        return self.dynamodb_endpoint is None and self.aws_access_key_id is None


def read(environ: Mapping[str, str], *, dev: bool = False) -> Settings:
    """Read the settings from an environment.

    Errors: SettingsError names the variable and what is wrong with it.
    """
    names = {field.encode_name for field in msgspec.structs.fields(Settings)} - {"dev"}
    given: dict[str, object] = {
        name: environ[name.upper()] for name in names if environ.get(name.upper())
    }
    for name in _LISTS & given.keys():
        given[name] = [part.strip() for part in str(given[name]).split(",") if part.strip()]
    if dev:
        given.setdefault("drain_spread_s", DEV_DRAIN_SPREAD_S)
    if dev and "jwt_secret" not in given:
        given["jwt_secret"] = secrets.token_urlsafe(JWT_SECRET_BYTES_MIN)
    try:
        settings = msgspec.convert({**given, "dev": dev}, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise SettingsError(_name_variable(str(error))) from error
    _check(settings)
    return settings


def _name_variable(message: str) -> str:
    """A message of msgspec about a field, with the environment variable in the field's place."""
    what, _, field = message.rpartition(" - at `$.")
    return f"{field.rstrip('`').upper()}: {what}" if what else message


def _decode(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)


def _check(settings: Settings) -> None:
    _check_keys(settings)
    _check_proxies(settings)
    _check_gateways(settings)
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


def _is_webhook_secret(secret: str) -> bool:
    """Source: Standard Webhooks, a secret of 24 to 64 random bytes in base64 behind `whsec_`."""
    try:
        raw = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return False
    return len(raw) >= WEBHOOK_SECRET_BYTES_MIN
