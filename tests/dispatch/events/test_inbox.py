"""Inboxes: numbered without gaps, repeated without effect, replayed exactly."""

import pytest

from dispatch import keys
from dispatch.events.inbox import Head, Inboxes, Letter, parse_news
from dispatch.storage.pubsub import Feeds
from dispatch.storage.redis_client import RedisClients, Scripts
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster

ME = "user:usr_1"


@pytest.fixture
async def inboxes(redis: RedisClients, scripts: Scripts):
    return Inboxes(redis, scripts)


def letters(*numbers, to=ME):
    return [Letter(to, f"evt_{n}", "order_ready", f'{{"n":{n}}}') for n in numbers]


async def test_events_are_numbered_in_their_order(inboxes: Inboxes):
    """The first event is 1, and what follows has no gap."""
    await inboxes.append(letters(1, 2, 3), 1_000)
    head = await inboxes.head(ME)
    found = await inboxes.since(ME, head.epoch, 0)

    assert [(entry.seq, entry.body) for entry in found] == [
        (1, b'{"n":1}'),
        (2, b'{"n":2}'),
        (3, b'{"n":3}'),
    ]


async def test_a_relay_may_repeat_itself(inboxes: Inboxes):
    """The same event twice takes one place."""
    await inboxes.append(letters(1, 2), 1_000)
    await inboxes.append(letters(2, 1, 3), 1_001)
    head = await inboxes.head(ME)

    assert head.seq == 3
    assert len(await inboxes.since(ME, head.epoch, 0) or ()) == 3


async def test_only_what_was_missed_comes_back(inboxes: Inboxes):
    """Resume after the second event brings the third."""
    await inboxes.append(letters(1, 2, 3), 1_000)
    head = await inboxes.head(ME)

    assert [entry.seq for entry in await inboxes.since(ME, head.epoch, 2)] == [3]
    assert await inboxes.since(ME, head.epoch, 3) == []


async def test_a_past_that_is_gone_is_never_a_silent_gap(inboxes: Inboxes, redis: RedisClients):
    """Another epoch, a trimmed stream or a seq from the future all ask for a fresh start."""
    await inboxes.append(letters(1, 2, 3), 1_000)
    head = await inboxes.head(ME)
    await redis.commands.xtrim(keys.inbox(ME), maxlen=1, approximate=False)

    assert await inboxes.since(ME, "another", 1) is None
    assert await inboxes.since(ME, head.epoch, 0) is None
    assert await inboxes.since(ME, head.epoch, 9) is None


async def test_a_new_epoch_begins_when_redis_has_forgotten(inboxes: Inboxes, redis: RedisClients):
    """After FLUSHALL the numbers start again under another name."""
    await inboxes.append(letters(1), 1_000)
    before = await inboxes.head(ME)
    await redis.commands.flushall()
    await inboxes.append(letters(2), 2_000)
    after = await inboxes.head(ME)

    assert after.seq == 1
    assert after.epoch != before.epoch


async def test_a_redis_that_was_started_anew_gives_no_number_twice(
    inboxes: Inboxes, redis: RedisClients
):
    """It had lost its last second, and gave an app's third number to another event: silence.

    Now whoever stood in the old inbox is told that he missed something, before and after the first
    event of the new one.
    """
    await inboxes.append(letters(1, 2, 3), 1_000)
    heard = await inboxes.head(ME)
    # The third event went with the end of the file, and the server is another one.
    await redis.commands.xdel(keys.inbox(ME), "3-0")
    await redis.commands.hset(keys.inbox_head(ME), mapping={"seq": 2, "run": "another"})

    assert await inboxes.since(ME, heard.epoch, 2) is None
    assert await inboxes.head(ME) == Head("", 0)
    await inboxes.append(letters(4), 2_000)
    after = await inboxes.head(ME)
    assert await inboxes.since(ME, heard.epoch, 3) is None
    assert after.epoch != heard.epoch
    assert [entry.body for entry in await inboxes.since(ME, after.epoch, 0)] == [b'{"n":4}']


async def test_scripts_that_redis_forgot_are_sent_again(inboxes: Inboxes, redis: RedisClients):
    """A restarted Redis knows no script and still takes the event, once."""
    await redis.commands.script_flush()
    await inboxes.append(letters(1), 1_000)

    assert (await inboxes.head(ME)).seq == 1


async def test_an_opening_brings_what_was_said_meanwhile(inboxes: Inboxes):
    """Events from the moment of the handshake on reach an app without a past."""
    await inboxes.append(letters(1), 1_000)
    await inboxes.append(letters(2), 2_000)
    head, news = await inboxes.opening(ME, 1_500)

    assert head.seq == 2
    assert [entry.seq for entry in news] == [2]


async def test_listening_nodes_hear_kept_and_passing_letters(
    inboxes: Inboxes, redis: RedisClients, until: Until
):
    """A letter that is not kept reaches the node without a number."""
    heard = []
    feeds = Feeds(redis)
    async with until.running(feeds.run):
        await feeds.open(keys.inbox_channel(ME), lambda message: heard.append(parse_news(message)))
        await inboxes.append(letters(1), 1_000)
        await inboxes.append([Letter(ME, "evt_2", "duty", "{}", kept=False)], 1_001)
        await until.true(lambda: len(heard) == 2)

    assert [(entry.seq, entry.name) for entry in heard] == [(1, "order_ready"), (0, "duty")]
    assert (await inboxes.head(ME)).seq == 1
