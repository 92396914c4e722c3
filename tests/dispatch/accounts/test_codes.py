"""Codes: sent again while young, valid beside the next one, and once."""

import asyncio

import pytest

from dispatch.accounts.codes import CODE_TTL_MS, LIVE_CODES_MAX, REUSE_MS, Codes
from dispatch.accounts.store import Login
from dispatch.clock import ManualClock
from ledger.dynamodb.client import DynamoTable

LOGIN = Login("USER", "+237670000001")


@pytest.fixture
def codes(table: DynamoTable, clock: ManualClock) -> Codes:
    return Codes(table, clock)


async def test_a_young_code_is_issued_again(codes: Codes, clock: ManualClock):
    """With half of its life left it stays the code, later a new one is issued."""
    first = await codes.issue(LOGIN)
    assert first.until_ms == clock.now_ms() + CODE_TTL_MS
    clock.advance(CODE_TTL_MS - REUSE_MS)
    assert await codes.issue(LOGIN) == first
    clock.advance(1)
    assert (await codes.issue(LOGIN)).nonce != first.nonce


async def test_requests_at_once_are_one_code(codes: Codes):
    """Ten concurrent requests get the same code."""
    issued = await asyncio.gather(*(codes.issue(LOGIN) for _ in range(10)))
    assert len(set(issued)) == 1


async def test_anothers_request_leaves_a_code_valid(codes: Codes, clock: ManualClock):
    """At every moment of its life a code is live, however often another is asked for."""
    owner = await codes.issue(LOGIN)
    for _ in range(CODE_TTL_MS // 20_000 - 1):
        clock.advance(20_000)
        await codes.issue(LOGIN)
        live = await codes.live(LOGIN)
        assert owner in live
        assert len(live) <= LIVE_CODES_MAX
    clock.advance(20_000)
    assert owner not in await codes.live(LOGIN)


async def test_a_code_is_valid_once(codes: Codes, clock: ManualClock):
    """Of two copies at once one is accepted; the other live code ends with it."""
    older = await codes.issue(LOGIN)
    clock.advance(REUSE_MS + 1)
    newer = await codes.issue(LOGIN)
    assert await codes.live(LOGIN) == [newer, older]
    taken = await asyncio.gather(codes.consume(LOGIN, older), codes.consume(LOGIN, older))
    assert sorted(taken) == [False, True]
    assert await codes.live(LOGIN) == []
    assert not await codes.consume(LOGIN, newer)


async def test_codes_belong_to_one_login(codes: Codes):
    """Another role of the phone has codes of its own."""
    issued = await codes.issue(LOGIN)
    assert await codes.live(Login("RIDER", LOGIN.phone)) == []
    assert not await codes.consume(Login("RIDER", LOGIN.phone), issued)
