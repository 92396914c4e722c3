"""Prometheus metrics: every series the server exports. A label names a kind, never an id."""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

# The `_created` samples are of no use to an operator and double the size of each scrape.
disable_created_metrics()

# Source: the goals of bench/README.md and docs/promises.md lie between 5 ms (a fix to its watcher)
# and 5 s (offers after a kill of the engine).
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Source: a flush each 40 ms at 2,000 fixes/s carries 80; the worst case is 10,000 riders at once.
BATCH_SIZE_BUCKETS = (1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)

FIXES_RECEIVED = Counter("reeyo_fixes_received_total", "Fixes that reached the server.")
FIXES_RELAYED = Counter(
    "reeyo_fixes_relayed_total", "Fixes written to a watcher, one for each watcher."
)
FIXES_DROPPED = Counter(
    "reeyo_fixes_dropped_total",
    "Fixes dropped, by reason; `not_moved` fixes are only left out of the trail, `late` ones only "
    "added to it, `coalesced` ones arrived under load with a newer fix of the same socket behind.",
    ["reason"],
)

POSITION_WRITER_FLUSH_SECONDS = Histogram(
    "reeyo_position_writer_flush_seconds",
    "Duration of one write of positions to Redis.",
    buckets=LATENCY_BUCKETS_S,
)
POSITION_WRITER_BATCH = Histogram(
    "reeyo_position_writer_batch_fixes",
    "Fixes in one write of positions to Redis.",
    buckets=BATCH_SIZE_BUCKETS,
)
POSITION_WRITER_DROPPED = Counter(
    "reeyo_position_writer_dropped_total",
    "Fixes dropped before they reached Redis, by reason.",
    ["reason"],
)
POSITION_WRITER_WAITING = Gauge(
    "reeyo_position_writer_waiting_riders", "Riders whose newest fix is not in Redis yet."
)

COMMANDS = Counter(
    "reeyo_commands_total",
    "Commands answered; the code is `ok` or the refusal code.",
    ["name", "code"],
)
COMMAND_SECONDS = Histogram(
    "reeyo_command_seconds",
    "Time from a command's arrival to its ack.",
    ["name"],
    buckets=LATENCY_BUCKETS_S,
)

OFFERS = Counter(
    "reeyo_offers_total",
    "Offers by outcome: made, accepted, declined, expired and the other outcomes.",
    ["outcome"],
)
OFFER_LATENESS_SECONDS = Histogram(
    "reeyo_offer_lateness_seconds",
    "Time from an offer's deadline until it was ended.",
    buckets=LATENCY_BUCKETS_S,
)
MATCH_SECONDS = Histogram(
    "reeyo_match_seconds",
    "Duration of one search for riders, from the index to the offers.",
    buckets=LATENCY_BUCKETS_S,
)

BATCH_SECONDS = Histogram(
    "reeyo_batch_seconds",
    "Duration of one decision over all open orders.",
    buckets=LATENCY_BUCKETS_S,
)
BATCHING = Gauge(
    "reeyo_batching", "1 while a service's open orders are decided in batches.", ["service"]
)

ORDER_TRANSITIONS = Counter(
    "reeyo_order_transitions_total", "Order transitions, by the status reached.", ["service", "to"]
)
SETTLEMENTS = Counter(
    "reeyo_settlements_total",
    "Orders whose money was split between vendor, rider and platform.",
    ["service"],
)
SETTLED_XAF = Counter("reeyo_settled_xaf_total", "Money of settled orders, whole XAF.", ["service"])

PAYOUTS = Counter(
    "reeyo_payouts_total",
    "Payouts that ended: paid, failed, rejected, cancelled, returned.",
    ["outcome"],
)
LEDGER_BREAKS = Gauge(
    "reeyo_ledger_breaks",
    "Violations of an invariant found by the last ledger audit.",
    ["invariant"],
)
LEDGER_VERIFIED_MS = Gauge(
    "reeyo_ledger_verified_ms", "Time up to which the ledger was last verified, Unix milliseconds."
)
LEDGER_LINES = Counter("reeyo_ledger_lines_verified_total", "Wallet lines verified.")

OUTBOX_LAG_SECONDS = Histogram(
    "reeyo_outbox_lag_seconds",
    "Time from an outbox entry's write to its relay.",
    buckets=LATENCY_BUCKETS_S,
)
OUTBOX_WAITING = Gauge(
    "reeyo_outbox_waiting_events", "Outbox entries of this node that are not relayed yet."
)

TASKS = Gauge("reeyo_tasks", "Tasks of the event loop; a lasting growth is a leak.")
SOCKETS = Gauge("reeyo_sockets", "Open sockets.", ["namespace"])
SOCKETS_ENDED = Counter(
    "reeyo_sockets_ended_total", "Sockets closed by the server, by reason.", ["namespace", "reason"]
)
EVENTS_SENT = Counter("reeyo_events_sent_total", "Events sent to sockets.", ["name"])
EVENTS_DROPPED = Counter(
    "reeyo_events_dropped_total", "Events not delivered to a socket, by reason.", ["reason"]
)

HTTP_REQUESTS = Counter(
    "reeyo_http_requests_total", "HTTP requests, by route template.", ["route", "method", "status"]
)
HTTP_SECONDS = Histogram(
    "reeyo_http_request_seconds",
    "Duration of HTTP requests.",
    ["route", "method"],
    buckets=LATENCY_BUCKETS_S,
)

SHARED_LIMITS_UNAVAILABLE = Counter(
    "reeyo_rate_limit_fallbacks_total",
    "Times a shared rate limit could not be asked of Redis.",
    ["rate"],
)

CODES = Counter(
    "reeyo_sign_in_codes_total",
    "Requests for a sign-in code, by outcome: sent, joined (a live code was sent before), "
    "over_budget, failed.",
    ["outcome"],
)
WEBHOOK_EVENTS_IGNORED = Counter(
    "reeyo_webhook_events_ignored_total",
    "Verified events of providers whose type means nothing here, by kind: payment or payout.",
    ["kind"],
)
FORWARDED_IGNORED = Counter(
    "reeyo_forwarded_addresses_ignored_total",
    "Requests with a proxy's X-Forwarded-For or Forwarded header from a peer that is not in "
    "TRUSTED_PROXIES, by kind of address: private or public.",
    ["kind"],
)
STORE_ERRORS = Counter(
    "reeyo_store_errors_total",
    "Failed calls to Redis or DynamoDB, by kind of error.",
    ["store", "kind"],
)
REDIS_CONNECTIONS_DROPPED = Counter(
    "reeyo_redis_connections_dropped_total",
    "Connections to Redis ended because their server is the wrong one or silent, by cause.",
    ["cause"],
)
LOOP_CRASHES = Counter("reeyo_loop_crashes_total", "Crashes of background loops.", ["loop"])
ENGINES_LIVE = Gauge("reeyo_engines_live", "1 while this node is its zone's live engine.")
ENGINE_MISSING = Gauge(
    "reeyo_engine_missing", "1 while this node's zone has had no live engine for ten seconds."
)
RECONCILIATIONS = Counter(
    "reeyo_reconciliations_total", "Reconciliations of Redis with DynamoDB, by reason.", ["reason"]
)
PUBSUB_MESSAGES = Counter("reeyo_pubsub_messages_total", "Pub/sub messages received.")
LEARNING_SAMPLES_DROPPED = Counter(
    "reeyo_learning_samples_dropped_total",
    "Samples for learned statistics that were dropped because too many waited.",
)
DISPLAY_RECEIPTS_DROPPED = Counter(
    "reeyo_display_receipts_dropped_total",
    "Display receipts of offers that were dropped before they reached Redis.",
)
LOAD_SHEDDING_STARTS = Counter(
    "reeyo_load_shedding_starts_total",
    "Times load shedding started: only the newest fix of each socket is handled.",
)
FIXES_CLOCK_AHEAD = Counter(
    "reeyo_fixes_clock_ahead_total",
    "Fixes of devices whose clock was ahead; they were dated to the time of arrival.",
)
CLOCK_STEPS = Counter(
    "reeyo_device_clock_steps_total",
    "Times that a device's clock was set, went wrong or stood still, as far as its fixes show it.",
)
ARRIVALS = Counter(
    "reeyo_arrivals_total",
    "Riders seen at a stop of their order, or why that was not recorded.",
    ["at"],
)
ETAS = Counter(
    "reeyo_etas_total", "ETAs sent to watchers, by the source of the estimate.", ["source"]
)
ROUTE_QUERIES = Counter(
    "reeyo_route_queries_total", "Queries to the routing engine, by outcome.", ["outcome"]
)
TRAILS = Counter(
    "reeyo_trails_total",
    "Trails of ended orders, by outcome: archived, or empty in Redis.",
    ["outcome"],
)
RIDERS_PAUSED = Counter(
    "reeyo_riders_paused_total", "Riders not asked for a while because their apps showed no offers."
)
ALERTS = Counter("reeyo_alerts_total", "Alerts raised to operators.", ["kind"])
WITHDRAWALS = Counter(
    "reeyo_withdrawals_total",
    "Orders withdrawn from riders who did not come, by reason.",
    ["reason"],
)
