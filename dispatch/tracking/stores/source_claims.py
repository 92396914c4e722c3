"""Source claims: what nodes tell each other of a rider's phones, over the rider's inbox channel."""

from collections.abc import Sequence

import msgspec

from dispatch import keys
from dispatch.keys import identity
from dispatch.storage.pipeline import Command, Pipeline

# Name of the message, which is published without a number.
SOURCE_CLAIM = "position_source_claim"


class SourceClaim(msgspec.Struct, frozen=True):
    """One source of a rider at its node, and whether it is active there.

    Units: Unix milliseconds by the node's clock, 0 is never.
    """

    node: str
    sid: str
    is_active: bool
    connected_at_ms: int
    fix_at_ms: int
    tapped_at_ms: int = 0
    moved_at_ms: int = 0


_decode = msgspec.json.Decoder(SourceClaim).decode


class SourceClaims:
    """Publishes claims to the nodes that hold sockets of the rider.

    Errors: StoreUnavailable.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def publish(self, claims: Sequence[tuple[str, SourceClaim]], now_ms: int) -> None:
        """Publish claims by rider id. Units: Unix milliseconds.

        Redis: SPUBLISH for each, one round trip.
        """
        if claims:
            await self._pipeline.run([_command(rider, claim, now_ms) for rider, claim in claims])


def _command(rider_id: str, claim: SourceClaim, now_ms: int) -> Command:
    # Shapes: as events.inbox.parse_entry reads it, with number 0 and no epoch.
    head = f"0\n\n{now_ms}\n{SOURCE_CLAIM}\n".encode()
    channel = keys.inbox_channel(identity("rider", rider_id))
    return ("SPUBLISH", channel, head + msgspec.json.encode(claim))


def parse_claim(body: bytes) -> SourceClaim:
    """The claim of a message."""
    return _decode(body)
