"""Table of the size limits, and the relations between them, checked when the server starts.

Two limits that contradict each other make a message that is legal by one and refused by the other,
which a client then sends again for ever.

Units: bytes, unless a name says otherwise.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dispatch.settings import Settings, SettingsError
from dispatch.wire import commands
from dispatch.wire.http.orders import GoodsOrder, PackageOrder
from dispatch.wire.message_size import (
    RECORD_BYTES,
    UTF8_CHAR_BYTES,
    largest_payload_bytes,
)
from handlers.http.framework.envelope import Route
from handlers.http.framework.openapi import body_structs
from handlers.sessions.auth import TOKEN_CHARS_MAX
from handlers.sockets.audiences import COMMANDS
from handlers.sockets.fix_batches import ANSWER_BYTES_MAX
from handlers.transport.http_connection import HEADER_BYTES_MAX
from handlers.transport.send_buffer import BYTES_MAX as SEND_BUFFER_BYTES

# Of a command's packet besides its payload: `42/vendor,4294967295["order_preparing",…]`.
PACKET_OVERHEAD = 64
# Of a CONNECT besides its token: `40/vendor,{"token":…,"resume":{"epoch":…,"seq":…}}`.
CONNECT_OVERHEAD = 256
HEADER_OVERHEAD = len("Authorization: Bearer \r\n")
# Name and price of a catalogue item, as each line of a placed order has them.
ORDER_LINE = 100 * UTF8_CHAR_BYTES + 100
# What an order has besides what was asked for: prices, places, payment, dispatch, times.
ORDER_OVERHEAD = 8 * 1024
# Source: DynamoDB, service quotas: an item has at most 400 KB.
STORED_ITEM_BYTES_MAX = 400 * 1000


class Relation(NamedTuple):
    """One size that must fit into another."""

    inner: str
    inner_size: int
    outer: str
    outer_size: int

    @property
    def holds(self) -> bool:
        """Whether it fits."""
        return self.inner_size <= self.outer_size


def check_limits(settings: Settings, routes: Iterable[Route]) -> None:
    """Check every relation.

    Errors: SettingsError names the limits that contradict each other.
    """
    for each in relations(settings, routes):
        if not each.holds:
            raise SettingsError(
                f"{each.outer} is {each.outer_size}, but {each.inner} may have {each.inner_size}"
            )


def relations(settings: Settings, routes: Iterable[Route]) -> Iterator[Relation]:
    """All relations between limits, with the sizes that they have now."""
    frame, frame_bytes = "FRAME_BYTES_MAX", settings.frame_bytes_max
    for audience, table in COMMANDS.items():
        for name, route in table.items():
            size = PACKET_OVERHEAD + largest_payload_bytes(route.struct)
            yield Relation(f"`{name}` of /{audience}", size, frame, frame_bytes)
    yield Relation("a CONNECT", CONNECT_OVERHEAD + TOKEN_CHARS_MAX, frame, frame_bytes)
    for each in routes:
        for body in body_structs(each.body):
            size = largest_payload_bytes(body)
            inner = f"the body of {each.method} {each.path}"
            yield Relation(inner, size, "HTTP_BODY_BYTES_MAX", settings.http_body_bytes_max)
    header = HEADER_OVERHEAD + TOKEN_CHARS_MAX
    yield Relation("a token's header", header, "a header line", HEADER_BYTES_MAX)
    fix_bytes = largest_payload_bytes(commands.Fix)
    yield Relation("a fix", fix_bytes, "a record of `location_batch`", RECORD_BYTES)
    yield Relation("the ack of a batch", ANSWER_BYTES_MAX, "a send buffer", SEND_BUFFER_BYTES)
    order = largest_order_bytes()
    yield Relation("an order", order, "a send buffer", SEND_BUFFER_BYTES)
    # The outbox entry of a placed order has the order twice: for the vendor and for the board.
    yield Relation("an outbox entry", 2 * order, "a stored item", STORED_ITEM_BYTES_MAX)
    yield Relation(
        "the fixes of a second (FIXES_PER_S)",
        settings.fixes_per_s,
        "the fixes of a batch",
        commands.FIXES_PER_BATCH_MAX,
    )


def largest_order_bytes() -> int:
    """The largest order as the server writes it into events, answers and the table."""
    asked = max(largest_payload_bytes(kind, UTF8_CHAR_BYTES) for kind in (GoodsOrder, PackageOrder))
    return ORDER_OVERHEAD + asked + commands.ORDER_LINES_MAX * ORDER_LINE
