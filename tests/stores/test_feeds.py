"""Feeds: nothing is missed after `open`, and a lost connection is found again."""

from dispatch.store.feeds import Feeds


async def test_what_is_said_after_open_is_heard(redis, until):
    """The subscription stands when `open` returns, every time."""
    feeds = Feeds(redis)
    heard = []
    async with until.running(feeds.run):
        for n in range(50):
            await feeds.open(f"channel:{n}", heard.append)
            await redis.commands.spublish(f"channel:{n}", str(n))
        await until.true(lambda: len(heard) == 50)

    assert heard == [str(n).encode() for n in range(50)]


async def test_the_last_listener_takes_the_subscription_with_him(redis, until):
    """A node that nobody on it listens for gets no messages."""
    feeds = Feeds(redis)
    first, second = [], []
    one, two = first.append, second.append
    async with until.running(feeds.run):
        await feeds.open("channel", one)
        await feeds.open("channel", two)
        await feeds.close("channel", one)
        await redis.commands.spublish("channel", "a")
        await until.true(lambda: second == [b"a"])
        await feeds.close("channel", two)
        await until.silent(redis.commands, "channel")

    assert first == []


async def test_a_cut_connection_is_mended_and_told(redis, until):
    """After the cut the channel works again and whoever listens learns that there was a gap."""
    feeds = Feeds(redis)
    heard, gaps = [], []
    feeds.on_gap(lambda: gaps.append(True))
    async with until.running(feeds.run):
        await feeds.open("channel", heard.append)
        await redis.commands.client_kill_filter(_type="pubsub")
        await until.true(lambda: bool(gaps))
        await redis.commands.spublish("channel", "again")
        await until.true(lambda: heard == [b"again"])

    assert gaps == [True]
