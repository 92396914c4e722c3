"""Inboxes: events are numbered without gaps, appended once and replayed exactly."""

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
    """Events are numbered from 1 on, in the order in which they were appended."""
    await inboxes.append(messages(1, 2, 3), 1_000)
    head = await inboxes.head(IDENTITY)
    found = await inboxes.events_after(IDENTITY, head.epoch, 0)

    assert [(entry.seq, entry.body) for entry in found] == [
        (1, b'{"n":1}'),
        (2, b'{"n":2}'),
        (3, b'{"n":3}'),
    ]


async def test_append_is_idempotent(inboxes: Inboxes):
    """An event id that is already in the inbox is not appended again."""
    await inboxes.append(messages(1, 2), 1_000)
    await inboxes.append(messages(2, 1, 3), 1_001)
    head = await inboxes.head(IDENTITY)

    assert head.seq == 3
    assert len(await inboxes.events_after(IDENTITY, head.epoch, 0) or ()) == 3


async def test_only_missed_events_are_replayed(inboxes: Inboxes):
    """The events after a number are replayed, none after the last."""
    await inboxes.append(messages(1, 2, 3), 1_000)
    head = await inboxes.head(IDENTITY)

    assert [entry.seq for entry in await inboxes.events_after(IDENTITY, head.epoch, 2)] == [3]
    assert await inboxes.events_after(IDENTITY, head.epoch, 3) == []


async def test_lost_events_need_a_resync(inboxes: Inboxes, redis: RedisClients):
    """Another epoch, a trimmed stream and a number above the last cannot be replayed."""
    await inboxes.append(messages(1, 2, 3), 1_000)
    head = await inboxes.head(IDENTITY)
    await redis.commands.xtrim(keys.inbox(IDENTITY), maxlen=1, approximate=False)

    assert await inboxes.events_after(IDENTITY, "another", 1) is None
    assert await inboxes.events_after(IDENTITY, head.epoch, 0) is None
    assert await inboxes.events_after(IDENTITY, head.epoch, 9) is None


async def test_flushed_redis_starts_a_new_epoch(inboxes: Inboxes, redis: RedisClients):
    """After FLUSHALL the numbers start again under another epoch."""
    await inboxes.append(messages(1), 1_000)
    before = await inboxes.head(IDENTITY)
    await redis.commands.flushall()
    await inboxes.append(messages(2), 2_000)
    after = await inboxes.head(IDENTITY)

    assert after.seq == 1
    assert after.epoch != before.epoch


async def test_restarted_redis_reuses_no_sequence_number(inboxes: Inboxes, redis: RedisClients):
    """After a restart that lost an event, clients of the old epoch cannot resume.

    The restarted Redis gave the lost event's number to the next event, and clients took that one
    for known. They get a resync now, before and after the first event of the new epoch.
    """
    await inboxes.append(messages(1, 2, 3), 1_000)
    before = await inboxes.head(IDENTITY)
    # The third event was in the lost second, and the run id is that of the new server.
    await redis.commands.xdel(keys.inbox(IDENTITY), "3-0")
    await redis.commands.hset(keys.inbox_head(IDENTITY), mapping={"seq": 2, "run": "another"})

    assert await inboxes.events_after(IDENTITY, before.epoch, 2) is None
    assert await inboxes.head(IDENTITY) == InboxHead("", 0)
    await inboxes.append(messages(4), 2_000)
    after = await inboxes.head(IDENTITY)
    assert await inboxes.events_after(IDENTITY, before.epoch, 3) is None
    assert after.epoch != before.epoch
    assert [entry.body for entry in await inboxes.events_after(IDENTITY, after.epoch, 0)] == [
        b'{"n":4}'
    ]


async def test_flushed_scripts_are_reloaded(inboxes: Inboxes, redis: RedisClients):
    """An append after SCRIPT FLUSH loads the scripts and appends the event once."""
    await redis.commands.script_flush()
    await inboxes.append(messages(1), 1_000)

    assert (await inboxes.head(IDENTITY)).seq == 1


async def test_head_and_recent_returns_events_since_the_handshake(inboxes: Inboxes):
    """The head comes with the events since the given time."""
    await inboxes.append(messages(1), 1_000)
    await inboxes.append(messages(2), 2_000)
    head, recent = await inboxes.head_and_recent(IDENTITY, 1_500)

    assert head.seq == 2
    assert [entry.seq for entry in recent] == [2]


async def test_nodes_receive_durable_and_transient_messages(
    inboxes: Inboxes, redis: RedisClients, until: Until
):
    """Subscribed nodes get durable events with their number, others with 0 and not stored."""
    received = []
    pubsub = PubSub(redis)
    async with until.running(pubsub.run):
        await pubsub.subscribe(
            keys.inbox_channel(IDENTITY), lambda message: received.append(parse_entry(message))
        )
        await inboxes.append(messages(1), 1_000)
        await inboxes.append(
            [InboxMessage(IDENTITY, "evt_2", "workload_change", "{}", is_durable=False)], 1_001
        )
        await until.true(lambda: len(received) == 2)

    assert [(entry.seq, entry.name) for entry in received] == [
        (1, "order_ready"),
        (0, "workload_change"),
    ]
    assert (await inboxes.head(IDENTITY)).seq == 1
