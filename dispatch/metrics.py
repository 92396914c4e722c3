"""Every series the server exports, held as objects; a label names a kind, never an id."""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

# When a series began is of no use to an operator and doubles what each scrape carries.
disable_created_metrics()

# Source: promises; the goals lie between 5 ms (a fix) and 5 s (a lost engine found again).
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Source: one flush per 40 ms at 2,000 fixes/s carries 80; 10,000 riders at once are the worst day.
BATCH_SIZE_BUCKETS = (1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)

FIXES_RECEIVED = Counter("reeyo_fixes_received_total", "Fixes that reached the server.")
FIXES_RELAYED = Counter(
    "reeyo_fixes_relayed_total", "Fixes written to a watcher, one for each watcher."
)
FIXES_DROPPED = Counter(
    "reeyo_fixes_dropped_total",
    "Fixes not taken, by the step that refused them; those `not_moved` only left the trail out, "
    "those `coalesced` came while the server was late and had a newer one behind them.",
    ["reason"],
)

POSITION_WRITER_FLUSH_SECONDS = Histogram(
    "reeyo_position_writer_flush_seconds",
    "One flush of positions into Redis.",
    buckets=LATENCY_BUCKETS_S,
)
POSITION_WRITER_BATCH = Histogram(
    "reeyo_position_writer_batch_fixes", "Fixes in one flush.", buckets=BATCH_SIZE_BUCKETS
)
POSITION_WRITER_DROPPED = Counter(
    "reeyo_position_writer_dropped_total", "Fixes that never reached Redis, by reason.", ["reason"]
)
POSITION_WRITER_WAITING = Gauge(
    "reeyo_position_writer_waiting_riders", "Riders whose newest fix waits for a flush."
)

COMMANDS = Counter(
    "reeyo_commands_total", "Commands answered; the code is `ok` or a refusal's.", ["name", "code"]
)
COMMAND_SECONDS = Histogram(
    "reeyo_command_seconds",
    "From a command's arrival to its ack.",
    ["name"],
    buckets=LATENCY_BUCKETS_S,
)

OFFERS = Counter(
    "reeyo_offers_total",
    "Offers by what became of them: made, accepted, declined, expired and the other outcomes.",
    ["outcome"],
)
OFFER_LATENESS_SECONDS = Histogram(
    "reeyo_offer_lateness_seconds",
    "From an offer's deadline to its end.",
    buckets=LATENCY_BUCKETS_S,
)
MATCH_SECONDS = Histogram(
    "reeyo_match_seconds",
    "One search for riders, from the index to the offers.",
    buckets=LATENCY_BUCKETS_S,
)

BATCH_SECONDS = Histogram(
    "reeyo_batch_seconds", "One decision of all open orders together.", buckets=LATENCY_BUCKETS_S
)
BATCHING = Gauge(
    "reeyo_batching", "1 where a service's orders are decided together now.", ["service"]
)

ORDER_TRANSITIONS = Counter(
    "reeyo_order_transitions_total", "Steps of orders, by the status reached.", ["service", "to"]
)
SETTLEMENTS = Counter("reeyo_settlements_total", "Orders whose money was split.", ["service"])
SETTLED_XAF = Counter("reeyo_settled_xaf_total", "Money split, whole XAF.", ["service"])

PAYOUTS = Counter(
    "reeyo_payouts_total",
    "Payouts that came to an end: paid, failed, rejected, cancelled, returned.",
    ["outcome"],
)
LEDGER_BREAKS = Gauge(
    "reeyo_ledger_breaks", "Breaks of an invariant in the last look at the books.", ["invariant"]
)
LEDGER_VERIFIED_MS = Gauge(
    "reeyo_ledger_verified_ms", "Up to when the books were last looked at, Unix milliseconds."
)
LEDGER_LINES = Counter("reeyo_ledger_lines_verified_total", "Lines of wallets looked at.")

OUTBOX_LAG_SECONDS = Histogram(
    "reeyo_outbox_lag_seconds", "From an event's write to its relay.", buckets=LATENCY_BUCKETS_S
)
OUTBOX_WAITING = Gauge("reeyo_outbox_waiting_events", "Events written and not yet relayed.")

TASKS = Gauge("reeyo_tasks", "Tasks of the event loop; they grow with work, and never for good.")
SOCKETS = Gauge("reeyo_sockets", "Open sockets.", ["namespace"])
SOCKETS_ENDED = Counter(
    "reeyo_sockets_ended_total", "Sockets the server cut, by reason.", ["namespace", "reason"]
)
EVENTS_SENT = Counter("reeyo_events_sent_total", "Events put on a socket.", ["name"])
EVENTS_DROPPED = Counter(
    "reeyo_events_dropped_total", "Events a socket did not get, by reason.", ["reason"]
)

HTTP_REQUESTS = Counter(
    "reeyo_http_requests_total", "HTTP requests by route template.", ["route", "method", "status"]
)
HTTP_SECONDS = Histogram(
    "reeyo_http_request_seconds", "HTTP requests.", ["route", "method"], buckets=LATENCY_BUCKETS_S
)

SHARED_LIMITS_UNAVAILABLE = Counter(
    "reeyo_rate_limit_fallbacks_total",
    "Times a rate of all nodes could not be asked for.",
    ["rate"],
)

STORE_ERRORS = Counter(
    "reeyo_store_errors_total", "Calls a store did not answer, by kind.", ["store", "kind"]
)
LOOP_CRASHES = Counter(
    "reeyo_loop_crashes_total", "Background loops that ended with an error.", ["loop"]
)
ENGINES_LIVE = Gauge("reeyo_engines_live", "1 where this node is its zone's live engine.")
RECONCILIATIONS = Counter(
    "reeyo_reconciliations_total", "Times that Redis was brought up to date, by reason.", ["reason"]
)
PUBSUB_MESSAGES = Counter("reeyo_pubsub_messages_total", "Messages from other nodes and the relay.")
LEARNING_SAMPLES_DROPPED = Counter(
    "reeyo_learning_samples_dropped_total",
    "Answers and times that were not learned from: too many waited.",
)
DISPLAY_RECEIPTS_DROPPED = Counter(
    "reeyo_display_receipts_dropped_total", "Receipts of offers dropped before Redis had them."
)
LOAD_SHEDDING_STARTS = Counter(
    "reeyo_load_shedding_starts_total",
    "Times at which the server was late, and let fixes overtake one another.",
)
FIXES_CLOCK_AHEAD = Counter(
    "reeyo_fixes_clock_ahead_total", "Fixes taken whose phone's clock was ahead, dated back to now."
)
ARRIVALS = Counter(
    "reeyo_arrivals_total",
    "Riders seen at a place of their order, or why that was not noted.",
    ["at"],
)
ETAS = Counter(
    "reeyo_etas_total", "Times of arrival told to watchers, by whose estimate it was.", ["source"]
)
ROUTE_QUERIES = Counter(
    "reeyo_route_queries_total", "Questions to the router, by what came of them.", ["outcome"]
)
TRAILS = Counter(
    "reeyo_trails_total", "Trails of ended orders: kept, or empty in Redis.", ["outcome"]
)
RIDERS_PAUSED = Counter(
    "reeyo_riders_paused_total", "Riders left alone for a while: their apps showed no offers."
)
ALERTS = Counter("reeyo_alerts_total", "Alerts raised to operators.", ["kind"])
WITHDRAWALS = Counter(
    "reeyo_withdrawals_total", "Orders taken from riders who did not come, by why.", ["reason"]
)
