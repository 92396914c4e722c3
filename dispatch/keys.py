"""Redis keys and channels: each with its type, time to live (TTL), writer and readers.

The form is `<noun>:{<id>}[:<facet>]`. The part in braces is the hash tag of Redis Cluster: keys
that one script or transaction uses together share it, and so lie on one server. Modules are named
without `dispatch.`, except those of `handlers`. Every channel is a sharded one (SPUBLISH).
"""

from dispatch.ids import OrderId, RiderId

# "<audience>:<id>", as in "rider:rdr_1": the owner of one inbox and of any number of sockets.
Identity = str


def identity(audience: str, owner: str) -> Identity:
    """The identity under which a user, vendor, rider or operator receives events."""
    return f"{audience}:{owner}"


def riders_geo(cell: str) -> str:
    """Free riders inside one H3 cell, by position.

    Redis: geo set of rider ids. TTL: none, swept. Writer and reader: tracking.stores.positions.
    """
    return f"riders:{{{cell}}}:geo"


def riders_facts(cell: str) -> str:
    """What matching needs to know of every rider inside one H3 cell, free or busy.

    Redis: hash rider id -> packed facts (tracking.stores.rider_facts). TTL: none, swept.
    Writer and reader: tracking.stores.positions.
    """
    return f"riders:{{{cell}}}:facts"


def riders_cells() -> str:
    """The H3 cells in which riders are indexed, for sweeps and wide map viewports.

    Redis: sorted set cell -> ms of the last write. TTL: none, swept.
    Writer and reader: tracking.stores.positions.
    """
    return "riders:{cells}"


def rider_fix(rider: RiderId) -> str:
    """A rider's last position.

    Redis: string (JSON of model.Position). TTL: 300 s.
    Writer and reader: tracking.stores.positions.
    """
    return f"rider:{{{rider}}}:fix"


def rider_presence(rider: RiderId) -> str:
    """When the server last observed a rider who carries an order, where its last fix is older.

    Redis: string (JSON of model.Presence). TTL: 3600 s.
    Writer and reader: tracking.stores.positions.
    """
    return f"rider:{{{rider}}}:presence"


def order_trail(order: OrderId) -> str:
    r"""The positions of the riders who carry one order, in order of arrival.

    Redis: stream of "<rider>\n<JSON>", about 2,000 entries. TTL: 24 h, 10 min once it is archived.
    Writer and reader: tracking.stores.positions.
    """
    return f"order:{{{order}}}:trail"


def place_speeds(place: str) -> str:
    """Observed speeds in one H3 cell, or in the whole city, by hour and vehicle.

    Redis: hash "<hour>:<vehicle>" -> "<metres> <seconds>". TTL: 30 d after the last write.
    Writer and reader: tracking.stores.learned_speeds.
    """
    return f"place:{{{place}}}:speeds"


def riders_acceptance() -> str:
    """Each rider's accepted offers and answered offers, both fading.

    Redis: hash rider id -> "<accepted> <answered>". TTL: 30 d after the last write.
    Writer and reader: orders.learned_stats.
    """
    return "riders:{acceptance}"


def vendor_prep_times(vendor: str) -> str:
    """A vendor's preparation times, over all day and by hour, fading.

    Redis: hash "day" or hour -> "<minutes> <orders>". TTL: 30 d after the last write.
    Writer and reader: orders.learned_stats.
    """
    return f"vendor:{{{vendor}}}:prep_times"


def order_positions(order: OrderId) -> str:
    """Channel of an order's positions, for nodes that hold a watcher of the order.

    Redis: channel. Writer: tracking.stores.positions. Reader: tracking.watchers.
    """
    return f"order:{{{order}}}:positions"


def heartbeat(node: str, number: int) -> str:
    """What a node writes to see that a server takes writes; numbered to lie on each server.

    Redis: string. TTL: 10 s. Writers: storage.failover.heartbeat, storage.failover.write_probe.
    Reader: none.
    """
    return f"heartbeat:{{{node}.{number}}}"


def heartbeat_channel(node: str, number: int) -> str:
    """Channel on which a node hears itself, to see that messages of a server arrive.

    Redis: channel. Writer and reader: storage.failover.heartbeat.
    """
    return f"heartbeat:{{{node}.{number}}}:channel"


def inbox(owner: Identity) -> str:
    """The last events of one identity, for clients that missed some.

    Redis: stream, 1,000 entries. TTL: 15 min after the last event.
    Writer and reader: events.inbox.
    """
    return f"inbox:{{{owner}}}"


def inbox_head(owner: Identity) -> str:
    """Epoch and last sequence number of an inbox, and the `run_id` of the Redis that numbered it.

    Redis: hash {epoch, seq, run}. TTL: 24 h after the last event. Writer and reader: events.inbox.
    """
    return f"inbox:{{{owner}}}:head"


def inbox_seen(owner: Identity) -> str:
    """Ids of the events in an inbox, so that a repeated relay has no effect.

    Redis: sorted set event id -> ms. TTL: 15 min after the last event.
    Writer and reader: events.inbox.
    """
    return f"inbox:{{{owner}}}:seen"


def inbox_channel(owner: Identity) -> str:
    """Channel of an identity's new events, for nodes that hold its sockets.

    Redis: channel. Writers: events.inbox, accounts.connection_counts.
    Reader: handlers.sockets.event_delivery.
    """
    return f"inbox:{{{owner}}}:channel"


def connections(owner: Identity) -> str:
    """The sockets of one identity on all nodes.

    Redis: sorted set "<node> <sid>" -> ms at which it was added. TTL: 24 h after the last one.
    Writer and reader: accounts.connection_counts.
    """
    return f"connections:{{{owner}}}"


def timers(zone: str) -> str:
    """When each open order of a zone is due for the engine; an index, the order has the deadline.

    Redis: sorted set order id -> due ms. TTL: none. Writer and reader: storage.timers.
    """
    return f"timers:{{{zone}}}"


def trails_due(zone: str) -> str:
    """When the trail of each ended order of a zone is due for archiving.

    Redis: sorted set order id -> due ms. TTL: none. Writer and reader: storage.timers.
    """
    return f"timers:{{{zone}}}:trails"


def engine_channel(zone: str) -> str:
    """Channel that wakes the engine of a zone before its next timer is due.

    Redis: channel. Writer: storage.timers.
    Reader: leadership.tick, subscribed by handlers.app.composition.
    """
    return f"timers:{{{zone}}}:wake"


def redis_instance() -> str:
    """Id of this Redis data set; an emptied Redis gets a new one.

    Redis: string. TTL: none. Writer and reader: leadership.redis_instance.
    """
    return "redis:instance"


def lease(name: str) -> str:
    """The lease of a role that only one node may have, such as a zone's engine.

    Redis: hash {holder, token}. TTL: 3 s, renewed. Writer and reader: storage.leases.
    """
    return f"lease:{{{name}}}"


def lease_token(name: str) -> str:
    """The last fencing token of a lease; tokens only grow.

    Redis: string (integer). TTL: none. Writer: storage.leases.
    Readers: storage.leases, storage.timers.
    """
    return f"lease:{{{name}}}:token"


def offer_receipt(offer: str) -> str:
    """Display receipt: the rider's app has shown an offer.

    Redis: string (ms). TTL: 60 s. Writer and reader: orders.offers.display_receipts.
    """
    return f"offer:{{{offer}}}:receipt"


def board() -> str:
    """The operations board: one line per open order.

    Redis: hash order id -> JSON of wire.events.OrderMarker. TTL: none, removed with the order's
    end. Writer and reader: events.operations_board.
    """
    return "board:{city}"


def board_channel() -> str:
    """Channel of changed lines of the operations board.

    Redis: channel. Writer: events.operations_board. Reader: handlers.sockets.map_viewport.
    """
    return "board:{city}:channel"


def node_reports() -> str:
    """When each node last reported, and how many riders it holds.

    Redis: hash node -> "<ms> <riders>". TTL: none; a node is removed an hour after its last report.
    Writer: events.node_reports. Readers: events.node_reports, events.operations_board.
    """
    return "board:{city}:node_reports"


def totals() -> str:
    """Counters of the operators' page; display only.

    Redis: hash name -> integer. TTL: none. Writers: events.operations_board, events.node_reports.
    Reader: events.operations_board.
    """
    return "board:{city}:totals"


def rider_unread(rider: RiderId) -> str:
    """How many offers in a row a rider's app has not shown.

    Redis: string (integer). TTL: 30 min after the last. Writer and reader:
    orders.offers.offer_pauses.
    """
    return f"rider:{{{rider}}}:unread_offers"


def riders_paused() -> str:
    """Riders who are not asked for a while because their apps show no offers.

    Redis: sorted set rider id -> end of the pause (ms). TTL: 24 h after the last write.
    Writer and reader: orders.offers.offer_pauses.
    """
    return "riders:{paused}"


def order_approach(order: OrderId) -> str:
    """Whether the rider of an order comes nearer to its pickup.

    Redis: string (JSON). TTL: 1 h. Writer and reader: orders.offers.approach_store.
    """
    return f"order:{{{order}}}:approach"


def alerts() -> str:
    """The last alerts to operators, newest first.

    Redis: list (JSON), 50 entries. TTL: 24 h after the last. Writer and reader: events.alerts.
    """
    return "alerts:{city}"


def alerts_channel() -> str:
    """Channel of new alerts to operators.

    Redis: channel. Writer: events.alerts. Reader: handlers.sockets.alert_feed.
    """
    return "alerts:{city}:channel"


def alert_raised(kind: str, subject: str) -> str:
    """That an alert was raised and must not be repeated yet.

    Redis: string (ms). TTL: the time until it may be repeated. Writer and reader: events.alerts.
    """
    return f"alerts:{{city}}:raised:{kind}:{subject}"


def revoked_channel() -> str:
    """Channel that tells the nodes to read new token revocations from DynamoDB.

    Redis: channel. Writer: accounts.revocations. Reader: handlers.sessions.revocation_cache.
    """
    return "tokens:{revoked}:channel"


def codes_sent(day: int) -> str:
    """How many sign-in codes were sent on a UTC day, counted from 1970.

    Redis: string (integer). TTL: two days. Writer and reader: accounts.code_budget.
    """
    return f"codes:{{{day}}}:sent"


def quota(name: str, subject: str) -> str:
    """When the rate limit bucket `name` of one identity, address or login is full again.

    Redis: string (Unix microseconds). TTL: until then. Writer and reader: storage.quotas.
    """
    return f"quota:{{{subject}}}:{name}"
