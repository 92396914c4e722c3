"""Stored answers: copies of one request get one answer."""

import asyncio

import pytest

from dispatch.clock import ManualClock
from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import request_key
from dispatch.events.kept_answers import KeptAnswers
from ledger.dynamodb.client import DynamoTable

KEY = request_key("user:usr_1", "key_1", b"body")


@pytest.fixture
def answers(table: DynamoTable) -> KeptAnswers:
    return KeptAnswers(table, ManualClock())


async def test_saved_answer_is_found(answers: KeptAnswers):
    """A request has no answer before, and the saved one after."""
    assert await answers.find(KEY) is None
    assert await answers.save(KEY, {"n": 1}) == {"n": 1}
    assert await answers.find(KEY) == {"n": 1}


async def test_concurrent_copies_get_one_answer(answers: KeptAnswers):
    """Ten copies that finish at once all return the answer that was stored first."""
    saved = await asyncio.gather(*(answers.save(KEY, {"n": n}) for n in range(10)))
    assert saved == [await answers.find(KEY)] * 10


async def test_request_without_a_key_is_not_stored(answers: KeptAnswers):
    """Without a key the answer is returned and nothing is stored."""
    assert await answers.save(None, {"n": 1}) == {"n": 1}
    assert await answers.find(None) is None


async def test_another_body_under_the_key_conflicts(answers: KeptAnswers):
    """Finding and saving under a key that was used for another body is refused."""
    await answers.save(KEY, {"n": 1})
    other = request_key("user:usr_1", "key_1", b"another body")
    for call in (answers.find(other), answers.save(other, {"n": 2})):
        with pytest.raises(Refused) as refused:
            await call
        assert refused.value.code is Refusal.CONFLICT
