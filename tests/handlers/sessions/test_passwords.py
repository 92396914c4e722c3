"""Passwords: hashed with Argon2id beside the event loop, and only a bounded number at once."""

import asyncio

import pytest
from argon2 import PasswordHasher

from dispatch.errors import Refusal, Refused
from handlers.sessions.passwords import WAITING_MAX, Passwords


async def test_a_password_matches_its_hash_and_no_other():
    """Two hashes of the same password differ, and both match it."""
    passwords = Passwords()
    one, two = await passwords.hash("correct horse"), await passwords.hash("correct horse")
    assert one != two
    assert await passwords.matches(one, "correct horse")
    assert await passwords.matches(two, "correct horse")
    assert not await passwords.matches(one, "correct horsf")


async def test_without_a_stored_hash_the_same_work_is_done(monkeypatch: pytest.MonkeyPatch):
    """For an unknown account a dummy hash with the same parameters is verified, and fails."""
    verified: list[str] = []
    verify = PasswordHasher.verify

    def record(hasher: PasswordHasher, stored_hash: str, password: str) -> bool:
        verified.append(stored_hash)
        return verify(hasher, stored_hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", record)
    passwords = Passwords()
    known = await passwords.hash("correct horse")
    assert not await passwords.matches(None, "correct horse")
    assert not await passwords.matches(known, "wrong horse")
    parameters = [each.rsplit("$", 2)[0] for each in verified]
    assert parameters == ["$argon2id$v=19$m=19456,t=2,p=1"] * 2
    assert [len(each) for each in verified] == [len(known)] * 2


async def test_the_event_loop_runs_while_a_password_is_hashed():
    """Other tasks get their turn during a hash."""
    passwords = Passwords()
    hashing, turns = asyncio.ensure_future(passwords.hash("correct horse")), 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10


async def test_too_many_waiting_requests_are_refused():
    """Over WAITING_MAX a request is refused as UNAVAILABLE; the first one still gets its hash."""
    passwords = Passwords()
    waiting = [asyncio.ensure_future(passwords.hash("correct horse")) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await passwords.hash("correct horse")
    assert refused.value.code is Refusal.UNAVAILABLE
    for each in waiting[1:]:
        each.cancel()
    assert (await waiting[0]).startswith("$argon2id$")
