"""Inboxes: numbered without gaps, repeated without effect, replayed exactly."""

import pytest

from dispatch import keys
from dispatch.events.inbox import Inboxes, InboxHead, InboxMessage, parse_entry
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster

IDENTITY = "user:usr_1"


@pytest.fixture
async def inboxes(redis: RedisClients, scripts: Scripts):
    return Inboxes(redis, scripts)


def messages(*numbers, to=IDENTITY):
    return [InboxMessage(to, f"evt_{n}", "order_ready", f'{{"n":{n}}}') for n in numbers]


async def test_events_are_numbered_in_their_order(inboxes: Inboxes):
    """The first event is 1, and what follows has no gap."""
    await inboxes.append(messages(1, 2, 3), 1_000)
    head = await inboxes.head(IDENTITY)
    found = await inboxes.events_after(IDENTITY, head.epoch, 0)

    assert [(entry.seq, entry.body) for entry in found] == [
        (1, b'{"n":1}'),
        (2, b'{"n":2}'),
        (3, b'{"n":3}'),
    ]


async def test_append_is_idempotent(inboxes: Inboxes):
    """The same event twice takes one place."""
    await inboxes.append(messages(1, 2), 1_000)
    await inboxes.append(messages(2, 1, 3), 1_001)
    head = await inboxes.head(IDENTITY)

    assert head.seq == 3
    assert len(await inboxes.events_after(IDENTITY, head.epoch, 0) or ()) == 3


async def test_only_missed_events_are_replayed(inboxes: Inboxes):
    """Resume after the second event brings the third."""
    await inboxes.append(messages(1, 2, 3), 1_000)
    head = await inboxes.head(IDENTITY)

    assert [entry.seq for entry in await inboxes.events_after(IDENTITY, head.epoch, 2)] == [3]
    assert await inboxes.events_after(IDENTITY, head.epoch, 3) == []


async def test_lost_events_need_a_resync(inboxes: Inboxes, redis: RedisClients):
    """Another epoch, a trimmed stream or a seq from the future all ask for a fresh start."""
    await inboxes.append(messages(1, 2, 3), 1_000)
    head = await inboxes.head(IDENTITY)
    await redis.commands.xtrim(keys.inbox(IDENTITY), maxlen=1, approximate=False)

    assert await inboxes.events_after(IDENTITY, "another", 1) is None
    assert await inboxes.events_after(IDENTITY, head.epoch, 0) is None
    assert await inboxes.events_after(IDENTITY, head.epoch, 9) is None


async def test_flushed_redis_starts_a_new_epoch(inboxes: Inboxes, redis: RedisClients):
    """After FLUSHALL the numbers start again under another name."""
    await inboxes.append(messages(1), 1_000)
    before = await inboxes.head(IDENTITY)
    await redis.commands.flushall()
    await inboxes.append(messages(2), 2_000)
    after = await inboxes.head(IDENTITY)

    assert after.seq == 1
    assert after.epoch != before.epoch


async def test_restarted_redis_reuses_no_sequence_number(inboxes: Inboxes, redis: RedisClients):
    """It had lost its last second, and gave an app's third number to another event: silence.

    Now whoever stood in the old inbox is told that he missed something, before and after the first
    event of the new one.
    """
    await inboxes.append(messages(1, 2, 3), 1_000)
    heard = await inboxes.head(IDENTITY)
    # The third event went with the end of the file, and the server is another one.
    await redis.commands.xdel(keys.inbox(IDENTITY), "3-0")
    await redis.commands.hset(keys.inbox_head(IDENTITY), mapping={"seq": 2, "run": "another"})

    assert await inboxes.events_after(IDENTITY, heard.epoch, 2) is None
    assert await inboxes.head(IDENTITY) == InboxHead("", 0)
    await inboxes.append(messages(4), 2_000)
    after = await inboxes.head(IDENTITY)
    assert await inboxes.events_after(IDENTITY, heard.epoch, 3) is None
    assert after.epoch != heard.epoch
    assert [entry.body for entry in await inboxes.events_after(IDENTITY, after.epoch, 0)] == [
        b'{"n":4}'
    ]


async def test_flushed_scripts_are_reloaded(inboxes: Inboxes, redis: RedisClients):
    """A restarted Redis knows no script and still takes the event, once."""
    await redis.commands.script_flush()
    await inboxes.append(messages(1), 1_000)

    assert (await inboxes.head(IDENTITY)).seq == 1


async def test_head_and_recent_returns_events_since_the_handshake(inboxes: Inboxes):
    """Events from the moment of the handshake on reach an app without a past."""
    await inboxes.append(messages(1), 1_000)
    await inboxes.append(messages(2), 2_000)
    head, news = await inboxes.head_and_recent(IDENTITY, 1_500)

    assert head.seq == 2
    assert [entry.seq for entry in news] == [2]


async def test_nodes_receive_durable_and_transient_messages(
    inboxes: Inboxes, redis: RedisClients, until: Until
):
    """A letter that is not kept reaches the node without a number."""
    heard = []
    feeds = PubSub(redis)
    async with until.running(feeds.run):
        await feeds.subscribe(
            keys.inbox_channel(IDENTITY), lambda message: heard.append(parse_entry(message))
        )
        await inboxes.append(messages(1), 1_000)
        await inboxes.append(
            [InboxMessage(IDENTITY, "evt_2", "workload_change", "{}", is_durable=False)], 1_001
        )
        await until.true(lambda: len(heard) == 2)

    assert [(entry.seq, entry.name) for entry in heard] == [
        (1, "order_ready"),
        (0, "workload_change"),
    ]
    assert (await inboxes.head(IDENTITY)).seq == 1
