"""Quotas: one rate over all nodes together."""

import asyncio

import pytest

from dispatch import keys
from dispatch.storage.quotas import Quotas, SpentTokens
from dispatch.storage.redis_client import RedisClients, Scripts
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster


@pytest.fixture
async def nodes(redis: RedisClients, scripts: Scripts):
    """The quotas of two nodes on one Redis."""
    return Quotas(redis.commands, scripts), Quotas(redis.commands, scripts)


async def test_two_nodes_share_one_bucket(nodes: tuple[Quotas, Quotas]):
    """Of a hundred concurrent requests at two nodes as many pass as the bucket holds."""
    requests = [nodes[n % 2].take("sign_in", "user:usr_1", 1 / 900, 5) for n in range(100)]
    taken = await asyncio.gather(*requests)

    granted = [each for each in taken if each.is_granted]
    assert sorted(each.remaining for each in granted) == [0, 1, 2, 3, 4]
    assert {each.remaining for each in taken if not each.is_granted} == {0}


async def test_refusal_has_the_wait(nodes: tuple[Quotas, Quotas]):
    """A refusal has the time until the next token, which further requests do not lengthen."""
    one, _ = nodes
    assert (await one.take("codes", "+237", 1 / 60, 1)).is_granted
    waits = [(await one.take("codes", "+237", 1 / 60, 1)).wait_s for _ in range(20)]

    assert all(50 < wait_s <= 60 for wait_s in waits)
    assert waits == sorted(waits, reverse=True)


async def test_bucket_refills(nodes: tuple[Quotas, Quotas], until: Until):
    """An empty bucket grants a token again after a while, at another node too."""
    one, two = nodes
    while (await one.take("http", "user:usr_1", 200, 3)).is_granted:
        pass

    async def is_granted():
        return (await two.take("http", "user:usr_1", 200, 3)).is_granted

    await until.eventually(is_granted)


async def test_full_bucket_has_no_key(
    nodes: tuple[Quotas, Quotas], redis: RedisClients, until: Until
):
    """The key of a bucket expires when the bucket is full, and the full bucket grants its burst."""
    await nodes[0].take("http", "user:usr_1", 200, 3)

    async def is_gone():
        return not await redis.commands.exists(keys.quota("http", "user:usr_1"))

    await until.eventually(is_gone)
    granted = [await nodes[1].take("http", "user:usr_1", 1 / 60, 3) for _ in range(4)]
    assert [each.is_granted for each in granted] == [True] * 3 + [False]


async def test_buckets_are_separate(nodes: tuple[Quotas, Quotas]):
    """Another subject and another quota have buckets of their own."""
    one, _ = nodes
    for name, subject in (("http", "user:usr_1"), ("http", "user:usr_2"), ("codes", "user:usr_1")):
        assert (await one.take(name, subject, 1, 1)).is_granted
        assert not (await one.take(name, subject, 1, 1)).is_granted


def join_tokens(tokens, subject="user:usr_1"):
    return SpentTokens("join", subject, 0.01, 5, tokens)


async def test_spent_tokens_of_two_nodes_share_a_bucket(nodes: tuple[Quotas, Quotas]):
    """Both nodes get what is left of one bucket, negative down to one bucket of debt."""
    one, two = nodes
    assert await one.spend([join_tokens(2)]) == [3]
    assert await two.spend([join_tokens(2)]) == [1]
    assert await one.spend([join_tokens(4)]) == [-3]
    assert await two.spend([join_tokens(100)]) == [-5]
    assert not (await one.take("join", "user:usr_1", 0.01, 5)).is_granted


async def test_spend_keeps_the_order(nodes: tuple[Quotas, Quotas]):
    """Results are in the order of the buckets over several round trips; none for none."""
    one, _ = nodes
    spent = [join_tokens(1 + number % 5, f"user:usr_{number}") for number in range(450)]
    assert await one.spend(spent) == [4 - number % 5 for number in range(450)]
    assert await one.spend([]) == []
