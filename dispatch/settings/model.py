"""Settings: every option of the server with its unit, default and reason."""

from pathlib import Path
from typing import Literal

import msgspec

from dispatch.service_area import ServiceArea, parse_service_area

Secret = str
Role = Literal["all", "edge", "engine"]
# Who may make an account here, and whose accounts an operator must approve.
Registration = Literal["off", "users", "all"]
Approval = Literal["accounts", "all", "off"]


class SettingsError(Exception):
    """A setting is missing or invalid; the server cannot start."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server's settings; each field is an environment variable, in lower case.

    Units: as the suffix says: milliseconds for `_ms`, seconds for `_s`, bytes for `_bytes`.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    # Prometheus scrapes `/metrics` here; it shows turnover, so it is not at the public port. Under
    # --dev the port is 0, which is off, and `/metrics` is at the main port for this machine.
    # Source: OpenTelemetry specification, the default port of its Prometheus exporter.
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9464
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
    # Starts a Valkey and a DynamoDB engine as child processes, each where no server is named, with
    # their data in `data_dir`; on by default under --dev only. Source: chosen; a server that cannot
    # find its stores must not keep orders and money in a container's folder instead.
    embedded: Literal["on", "off"] = "off"
    allowed_origins: tuple[str, ...] = ()
    # Addresses or networks of our own proxies, whose X-Forwarded-For is trusted. Without it all
    # clients behind a proxy share its address, and with it one set of rate limits.
    trusted_proxies: tuple[str, ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    data_dir: Path = Path("data")
    rate_limits: Literal["on", "off"] = "on"
    # Who may make an account here: nobody (a company with its own identity service), customers, or
    # vendors and riders too. Under --dev the default is `all`.
    accounts: Registration = "users"
    # Whose standing an operator must approve: vendors and riders who register here (`accounts`);
    # those known only from a token of the company's own issuer too (`all`); nobody's (`off`).
    require_approval: Approval = "accounts"
    # Secrets of Standard Webhooks (`whsec_` + base64), one for each provider and direction: whoever
    # verifies with one could forge with it. A rotation lists two: both sign, both verify.
    # Verify payment events, each as `provider:secret`; WEBHOOK_SECRET is that of the providers that
    # have none here, and nothing else.
    payment_webhook_secrets: tuple[Secret, ...] = ()
    webhook_secret: Secret = ""
    # Verify payout events, each as `provider:secret`.
    payout_webhook_secrets: tuple[Secret, ...] = ()
    # Sign our requests to CODE_URL and to PAYOUT_URL.
    code_url_secret: tuple[Secret, ...] = ()
    payout_url_secret: tuple[Secret, ...] = ()
    # Country of the phone numbers that are written without a country code (ISO 3166-1).
    # Source: chosen; the currency and the simulated city are those of Cameroon.
    phone_region: str = "CM"
    # The company's gateway for text messages: it receives `{phone, code, expiresAt}`, signed.
    # Without it sign-in by code is off, except under --dev, where the answer contains the code.
    code_url: str | None = None
    # Text messages with codes are sent to these countries only (ISO 3166-1); to PHONE_REGION where
    # it is empty. Source: chosen; fraudsters have codes sent to dear numbers of other countries.
    code_countries: tuple[str, ...] = ()
    # Codes that all nodes together send in a UTC day; 0 sends none. Source: chosen; several times
    # the sign-ins of a company with 10,000 customers, and a loss that it survives.
    codes_per_day: int = 5_000
    # Requests for a code, and sign-ins, that one address may make in 15 minutes. Source: chosen;
    # carriers put hundreds of phones behind one address: raise both where yours does.
    codes_per_address_15min: int = 30
    sign_ins_per_address_15min: int = 100
    # The provider of MOBILE_MONEY payments; the sandbox confirms by itself, only under --dev.
    payment_provider: str = "sandbox"
    # The company's gateway for payouts and its name in paths and records; without it an operator
    # pays by hand, or the sandbox does under --dev. PAYOUT_URL_SECRET signs requests to it,
    # PAYOUT_WEBHOOK_SECRETS its reports to `POST /webhooks/payouts/{provider}`.
    payout_url: str | None = None
    payout_provider: str = "gateway"
    # Who owes what a customer did not pay in cash, until an operator decides otherwise.
    # Source: docs/decisions/0032-cash-differences.md.
    cash_shortage: Literal["rider", "customer"] = "rider"
    # A delivery that is completed farther from its dropoff than this raises an alert.
    # Source: chosen; more than a wrong pin and a large building are apart from the door.
    completed_far_m: int = 500
    # Refunds, remittances and payouts above it need another operator's approval. Source: chosen;
    # the least that a vendor may draw, so that daily corrections stay one person's.
    two_person_above_xaf: int = 50_000
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
    # How accurate a fix must be to move the marker of a rider, and to add a point to a trail;
    # coarser ones only show a circle where no exact fix came for `fix_fresh_ms`. A rider whose
    # circle is larger than `accuracy_index_m` is not offered orders. Units: metres.
    # Source: chosen; worse fixes put a rider into the wrong street, phones indoors report 65 m,
    # and a pickup 500 m away or nearer is a matter of two minutes.
    accuracy_marker_m: float = 50.0
    accuracy_trail_m: float = 50.0
    accuracy_index_m: float = 500.0
    # Unpaid orders (cash, or mobile money that did not come yet) that a customer may have open, and
    # what they may cost together; each holds back goods that nobody has paid for. Units: whole XAF.
    # Source: chosen; three meals at a time, and less than a small shop sells in a day.
    unpaid_orders_max: int = 3
    unpaid_value_max: int = 100_000
    # Orders that a rider may carry at once. Source: docs/contract.md, one by default.
    rider_orders_max: int = 1
    # Speed-up of the simulated riders and kitchens when a day is replayed; only under --dev.
    city_pace: float = 1.0
    # Where the company delivers: circles of `lat,lng,km`, separated by `;`; `off`: everywhere.
    # Source: chosen; 50 km around the middle of Douala reach every suburb, and no other town.
    service_area: str = "4.0511,9.7679,50"
    # The company's routing engine, asked for ETAs; without one they are estimated from the distance
    # and the speeds observed on the streets.
    router_url: str | None = None
    router_kind: Literal["osrm", "valhalla"] = "osrm"
    # Above it our own estimate is used; a router in the same network answers in some 10 ms.
    router_timeout_ms: int = 800
    # The largest message that a client may send; a longer one closes its socket.
    # Source: chosen; a batch of 100 stored fixes has 16 to 50 KiB, depending on the phone's
    # library; `handlers/app/limits.py` computes the largest message of every command.
    frame_bytes_max: int = 64 * 1024
    http_body_bytes_max: int = 64 * 1024
    # An HTTP connection may wait this long for its next request. Source: longer than the 60 s for
    # which the usual balancers keep an idle connection, so that none sends a request into the end.
    http_keepalive_s: float = 75.0
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
    def area(self) -> ServiceArea:
        """The parsed service area. Errors: ValueError before the settings were checked."""
        return parse_service_area(self.service_area)

    @property
    def payment_secrets(self) -> dict[str, tuple[Secret, ...]]:
        """The secrets that verify payment events, by provider."""
        return _by_provider(self.payment_webhook_secrets)

    @property
    def payout_secrets(self) -> dict[str, tuple[Secret, ...]]:
        """The secrets that verify payout events, by provider."""
        return _by_provider(self.payout_webhook_secrets)

    @property
    def countries_with_codes(self) -> frozenset[str]:
        """The countries whose numbers get codes. Shapes: ISO 3166-1."""
        return frozenset(self.code_countries or (self.phone_region,))

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
        return self.embedded == "on" and self.redis_url is None

    @property
    def embeds_dynamodb(self) -> bool:
        """Whether an embedded DynamoDB engine is started."""
        return self.embedded == "on" and self.dynamodb_endpoint is None


def _by_provider(pairs: tuple[Secret, ...]) -> dict[str, tuple[Secret, ...]]:
    """The secrets of `provider:secret` pairs, by provider, in the order of the setting."""
    found: dict[str, tuple[Secret, ...]] = {}
    for pair in pairs:
        provider, _, secret = pair.partition(":")
        found[provider] = (*found.get(provider, ()), secret)
    return found
