"""Every Redis key, channel and stream: its type, time to live, writer and readers.

The grammar is `<noun>:{<id>}[:<facet>]`; what must share a slot of a cluster shares its braces.
"""

from dispatch.ids import OrderId, RiderId

# An identity is "<audience>:<id>", as in "rider:rdr_1"; one inbox, one channel and many sockets.
Identity = str


def identity(audience: str, owner: str) -> Identity:
    """The name under which one user, vendor or rider receives events."""
    return f"{audience}:{owner}"


def riders_geo(cell: str) -> str:
    """Riders inside one H3 cell who take another delivery, by position.

    Redis: geo set of rider ids. TTL: none, swept. Writer and reader: store.positions.
    """
    return f"riders:{{{cell}}}:geo"


def riders_facts(cell: str) -> str:
    """What is known of every rider inside one H3 cell, free or busy.

    Redis: hash rider id -> packed facts. TTL: none, swept. Writer and reader: store.positions.
    """
    return f"riders:{{{cell}}}:facts"


def riders_cells() -> str:
    """The H3 cells in which riders are indexed, so that a sweep and a wide map find them.

    Redis: sorted set cell -> ms of the last write. TTL: none, swept. Writer and reader:
    store.positions.
    """
    return "riders:{cells}"


def rider_fix(rider: RiderId) -> str:
    """A rider's last fix.

    Redis: string (JSON). TTL: 300 s. Writer: store.positions. Readers: snapshots, re-index.
    """
    return f"rider:{{{rider}}}:fix"


def order_trail(order: OrderId) -> str:
    r"""The fixes of the riders who carry one order, as they came.

    Redis: stream of "<rider>\n<JSON>", about 2,000 entries. TTL: 24 h, 10 min once it is kept with
    the order. Writer and reader: store.positions.
    """
    return f"order:{{{order}}}:trail"


def place_speeds(place: str) -> str:
    """How fast riders get on in one H3 cell, or in the whole city, by hour and vehicle.

    Redis: hash "<hour>:<vehicle>" -> "<metres> <seconds>". TTL: 30 d after the last. Writer and
    reader: store.paces.
    """
    return f"place:{{{place}}}:speeds"


def riders_acceptance() -> str:
    """How often each rider said yes to offers, and how many answers that was; both fade.

    Redis: hash rider id -> "<yes> <answers>". TTL: 30 d after the last. Writer and reader:
    store.tallies.
    """
    return "riders:{acceptance}"


def vendor_prep_times(vendor: str) -> str:
    """How long a vendor's goods took, all day and by the hour of the day; it fades.

    Redis: hash "day" or hour -> "<minutes> <orders>". TTL: 30 d after the last. Writer and reader:
    store.tallies.
    """
    return f"vendor:{{{vendor}}}:prep_times"


def order_positions(order: OrderId) -> str:
    """Live positions for nodes that have a watcher of this order.

    Redis: sharded channel, nothing kept. Writer: store.positions. Reader: store.feeds.
    """
    return f"order:{{{order}}}:positions"


def inbox(owner: Identity) -> str:
    """The events one identity may still have missed.

    Redis: stream, 1,000 entries or 15 min. TTL: 15 min after the last. Writer: store.inbox.
    """
    return f"inbox:{{{owner}}}"


def inbox_head(owner: Identity) -> str:
    """Epoch and last sequence number of an inbox, and the run of the server that numbered it.

    Redis: hash {epoch, seq, run}. TTL: 24 h. Writer and reader: store.inbox.
    """
    return f"inbox:{{{owner}}}:head"


def inbox_seen(owner: Identity) -> str:
    """Event ids already in an inbox, so that a relay may repeat itself.

    Redis: sorted set event id -> ms. TTL: 15 min after the last. Writer and reader: store.inbox.
    """
    return f"inbox:{{{owner}}}:seen"


def inbox_channel(owner: Identity) -> str:
    """Tells nodes that hold sockets of this identity that its inbox has grown.

    Redis: sharded channel, nothing kept. Writer: store.inbox. Reader: store.feeds.
    """
    return f"inbox:{{{owner}}}:channel"


def connections(owner: Identity) -> str:
    """The sockets that one identity holds, wherever they are.

    Redis: sorted set "node sid" -> ms at which it was noted. TTL: 24 h after the newest came.
    Writer and reader: store.visits.
    """
    return f"connections:{{{owner}}}"


def timers(zone: str) -> str:
    """When each open order of a zone wants to be looked at; an index, the order holds the truth.

    Redis: sorted set order id -> due ms. TTL: none. Writer and reader: store.timers.
    """
    return f"timers:{{{zone}}}"


def trails_due(zone: str) -> str:
    """When the trail of each order of a zone that has ended is to be kept with it.

    Redis: sorted set order id -> due ms. TTL: none. Writer and reader: store.timers.
    """
    return f"timers:{{{zone}}}:trails"


def engine_channel(zone: str) -> str:
    """Wakes the engine of a zone before its next timer is due.

    Redis: sharded channel, nothing kept. Writer: store.timers. Reader: store.feeds.
    """
    return f"timers:{{{zone}}}:wake"


def redis_instance() -> str:
    """Which Redis this is; one that was emptied gets another mark.

    Redis: string. TTL: none. Writer and reader: store.birth.
    """
    return "redis:instance"


def lease(name: str) -> str:
    """Which node does what only one may do, as being the engine of a zone.

    Redis: hash {holder, token}. TTL: 3 s, renewed. Writer and reader: store.leases.
    """
    return f"lease:{{{name}}}"


def lease_token(name: str) -> str:
    """The last fencing token of a lease; they only grow.

    Redis: string (integer). TTL: none. Writer and reader: store.leases.
    """
    return f"lease:{{{name}}}:token"


def offer_receipt(offer: str) -> str:
    """That a rider's app has shown an offer.

    Redis: string (ms). TTL: 60 s. Writer: the edge. Reader: the engine.
    """
    return f"offer:{{{offer}}}:receipt"


def board() -> str:
    """One line per open order for the operators' map.

    Redis: hash order id -> JSON. TTL: none, removed at the end of the order. Writer: outbox.
    """
    return "board:{city}"


def board_channel() -> str:
    """Changes of the board as they happen.

    Redis: sharded channel, nothing kept. Writer: store.board. Reader: store.feeds.
    """
    return "board:{city}:channel"


def node_reports() -> str:
    """How many riders each node holds, and when it last said so; display only.

    Redis: hash node -> "ms riders". TTL: none, a handful of nodes. Writer and reader: store.board.
    """
    return "board:{city}:node_reports"


def totals() -> str:
    """Counters for the operators' page; display only, the ledger and the orders decide.

    Redis: hash name -> integer. TTL: none. Writers: outbox, drain. Reader: /ops.
    """
    return "board:{city}:totals"


def rider_unread(rider: RiderId) -> str:
    """How many offers in a row a rider's app has not shown.

    Redis: string (integer). TTL: 30 min after the last. Writer and reader: store.pauses.
    """
    return f"rider:{{{rider}}}:unread_offers"


def riders_paused() -> str:
    """Riders who are not asked for a while, because their apps show nothing.

    Redis: sorted set rider id -> until (ms). TTL: 24 h after the last. Writer and reader:
    store.pauses.
    """
    return "riders:{paused}"


def order_approach(order: OrderId) -> str:
    """How the rider of an order comes nearer to its pickup.

    Redis: string (JSON). TTL: 1 h. Writer and reader: store.pursuits.
    """
    return f"order:{{{order}}}:approach"


def alerts() -> str:
    """The last alerts to operators, newest first.

    Redis: list (JSON), 50 entries. TTL: 24 h after the last. Writer and reader: store.alerts.
    """
    return "alerts:{city}"


def alerts_channel() -> str:
    """Alerts to operators as they are raised.

    Redis: sharded channel, nothing kept. Writer: store.alerts. Reader: store.feeds.
    """
    return "alerts:{city}:channel"


def alert_raised(kind: str, subject: str) -> str:
    """That an alert was raised a short while ago and need not be repeated yet.

    Redis: string (ms). TTL: the pause between repetitions. Writer and reader: store.alerts.
    """
    return f"alerts:{{city}}:raised:{kind}:{subject}"


def revoked_channel() -> str:
    """Tells nodes that tokens were revoked; which ones, DynamoDB says.

    Redis: sharded channel, nothing kept. Writer: store.revocations. Reader: store.feeds.
    """
    return "tokens:{revoked}:channel"


def quota(name: str, subject: str) -> str:
    """When the bucket of somebody for something is full again.

    Redis: string (Unix microseconds). TTL: until then. Writer and reader: store.quotas.
    """
    return f"quota:{{{subject}}}:{name}"
