"""Turns an exception into the refusal that a client may see; shared by HTTP and sockets."""

import asyncio

from dispatch.errors import Refusal, Refused, StoreUnavailable
from ledger.dynamodb.table import TableUnavailable

# `not_found` is answered no sooner than this after its request: reading something takes longer
# than reading nothing, and a client that guesses ids must not measure the difference.
# Source: measured, the stores answer within 10 ms; the ranks of 10,000 guesses in tests.e2e.guess.
NOT_FOUND_S_MIN = 0.02


def refusal_of(error: Exception) -> Refused:
    """The refusal that stands for an error; nothing of a bug but the code `internal` leaves."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, StoreUnavailable | TableUnavailable):
        return Refused(Refusal.UNAVAILABLE, "a store does not answer; try again in a moment")
    return Refused(Refusal.INTERNAL, "something went wrong on our side")


async def pad_not_found(
    error: Exception, elapsed_s: float, not_found_s_min: float = NOT_FOUND_S_MIN
) -> None:
    """Wait until a `not_found` answer takes as long as an answer about an existing object.

    Any other error returns at once. Units: seconds.
    """
    if (
        isinstance(error, Refused)
        and error.code is Refusal.NOT_FOUND
        and elapsed_s < not_found_s_min
    ):
        await asyncio.sleep(not_found_s_min - elapsed_s)
