"""What a client may see of an error, and how long `not_found` takes."""

import asyncio

import pytest

from dispatch.errors import Refusal, Refused, StoreUnavailable
from handlers.refusals import pad_not_found, refusal_of
from ledger.dynamodb.table import TableUnavailable

NOT_FOUND = Refused(Refusal.NOT_FOUND, "there is no such order of yours")


def test_a_refusal_stands_for_itself():
    """Code, message and details stay."""
    refused = Refused(Refusal.CONFLICT, "no", {"version": 3})
    assert refusal_of(refused) is refused


@pytest.mark.parametrize("error", [StoreUnavailable("redis", "timeout"), TableUnavailable("down")])
def test_a_store_that_is_away_is_unavailable(error: Exception):
    """The message says nothing of which store, or why."""
    refused = refusal_of(error)
    assert refused.code is Refusal.UNAVAILABLE
    assert not {"redis", "timeout", "down"} & set(refused.message.split())


def test_a_bug_is_internal():
    """Nothing of the error's text is shown."""
    refused = refusal_of(ZeroDivisionError("a secret"))
    assert (refused.code, refused.message) == (
        Refusal.INTERNAL, "something went wrong on our side",
    )  # fmt: skip


async def test_not_found_waits_for_the_rest_of_its_minimum():
    """Of 50 ms, 30 have passed: 20 are waited for."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await pad_not_found(NOT_FOUND, 0.03, 0.05)
    assert loop.time() - began_s >= 0.02 - 0.001


@pytest.mark.parametrize(
    ("error", "elapsed_s"),
    [(NOT_FOUND, 60.0), (Refused(Refusal.CONFLICT, "no"), 0.0), (ZeroDivisionError(), 0.0)],
)
async def test_nothing_else_waits(error: Exception, elapsed_s: float):
    """Neither a `not_found` that took long enough nor any other error."""
    async with asyncio.timeout(5):
        await pad_not_found(error, elapsed_s, 60.0)
