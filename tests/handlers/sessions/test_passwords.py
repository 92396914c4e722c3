"""Passwords: hashed beside the loop, never more than a few."""

import asyncio

import pytest

from dispatch.errors import Refusal, Refused
from handlers.sessions.passwords import WAITING_MAX, Passwords


async def test_a_password_matches_its_hash_and_no_other():
    """Two hashes of the same password differ, and both know it."""
    ours = Passwords()
    one, two = await ours.hash("correct horse"), await ours.hash("correct horse")
    assert one != two
    assert await ours.matches(one, "correct horse")
    assert await ours.matches(two, "correct horse")
    assert not await ours.matches(one, "correct horsf")


async def test_nobodys_password_costs_a_hash_and_never_matches(monkeypatch: pytest.MonkeyPatch):
    """An unknown account takes as long as a known one: the same function, the same parameters."""
    ours, kept = Passwords(), []
    is_equal = ours._is_equal
    monkeypatch.setattr(ours, "_is_equal", lambda *a: kept.append(a[0]) or is_equal(*a))
    known = await ours.hash("correct horse")
    assert not await ours.matches(None, "correct horse")
    assert not await ours.matches(known, "wrong horse")
    parameters = [each.rsplit("$", 2)[0] for each in kept]
    assert parameters == ["$argon2id$v=19$m=19456,t=2,p=1"] * 2
    assert [len(each) for each in kept] == [len(known)] * 2


async def test_the_loop_goes_on_meanwhile():
    """Whoever is connected is served while somebody signs in."""
    ours = Passwords()
    hashing, turns = asyncio.ensure_future(ours.hash("correct horse")), 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10


async def test_too_many_at_once_are_sent_away():
    """A flood of passwords fills neither the memory nor the hours."""
    ours = Passwords()
    waiting = [asyncio.ensure_future(ours.hash("correct horse")) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await ours.hash("correct horse")
    assert refused.value.code is Refusal.UNAVAILABLE
    for each in waiting[1:]:
        each.cancel()
    assert (await waiting[0]).startswith("$argon2id$")
