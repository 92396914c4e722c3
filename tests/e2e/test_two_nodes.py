"""Two servers that share their stores are one house: what one of them ends is over at the other."""

import time
from collections.abc import Sequence

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bench.common.client import ConnectionClosed, SocketClient, connect
from bench.common.harness import NAMESPACES
from city.client.tokens import TOKEN_LIFETIME_S, TokenSigner
from dispatch.keys import connections, identity, node_reports
from handlers.sessions.rate_limits import JOIN_RATE
from handlers.sessions.session_registry import SOCKETS_PER_IDENTITY_MAX
from tests.e2e.fleet import Fleet, fleet
from tests.e2e.listeners import wait_for
from tests.waiting import Until

# Source: promise, revoked or expired: socket closed at most five seconds later.
CLOSED_S = 5.0
# A server that is silent for five seconds counts as gone; two more until somebody looks.
NODE_EXPIRY_S = 7.0
PER_MIN = 60
TOKEN_LEFT_S = 3
PHONE_BODY = {"userType": "RIDER", "phone": "+237600000001"}
PASSWORD_BODY = {**PHONE_BODY, "password": "correct horse"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two_servers(tmp_path_factory):
    """Two servers with the limits of production, one of which is tighter."""
    folder = tmp_path_factory.mktemp("two")
    limits = {"RATE_LIMITS": "on", "HTTP_REQUESTS_PER_MIN": str(PER_MIN)}
    async with fleet(folder, ["all", "all"], **limits) as running:
        yield running


async def connect_to_both(two: Fleet, token: str) -> list[SocketClient]:
    """The same person at both servers."""
    urls = [node.site.url for node in two.nodes]
    return [await connect(url, NAMESPACES["RIDER"], token, _ignore_event) for url in urls]


def _ignore_event(_name: str, _body: object, _at_s: float) -> None:
    """What they are told does not matter here."""


def are_closed(clients: list[SocketClient]) -> bool:
    return all(phone._transport is None for phone in clients)


async def post(two: Fleet, node: int, path: str, body: object) -> aiohttp.ClientResponse:
    url = f"{two.nodes[node].site.url}/api/v1{path}"
    async with two.session.post(url, json=body) as answer:
        await answer.read()
        return answer


@pytest.mark.slow
async def test_revoking_tokens_closes_sockets_at_both(two_servers: Fleet):
    """An operator asks one of them; his own and other people's sockets stay."""
    gone = await connect_to_both(two_servers, two_servers.token_signer.sign("RIDER", "rdr_gone"))
    here = await connect_to_both(two_servers, two_servers.token_signer.sign("RIDER", "rdr_here"))
    body = {"userType": "RIDER", "userId": "rdr_gone"}
    await two_servers.nodes[0].site.request(
        "POST", "/admin/tokens/revoke", ("ADMIN", "adm_1"), body
    )
    assert await wait_for(lambda: are_closed(gone), CLOSED_S) < CLOSED_S
    assert not any(phone._transport is None for phone in here)


@pytest.mark.slow
async def test_sockets_end_with_their_token_at_both(two_servers: Fleet):
    """Nobody stays longer than he was let in for."""
    begun_ms = int(time.time() * 1000) - (TOKEN_LIFETIME_S - TOKEN_LEFT_S) * 1000
    short = TokenSigner(two_servers.token_signer.secret, lambda: begun_ms)
    lines = await connect_to_both(two_servers, short.sign("RIDER", "rdr_short"))
    assert (
        await wait_for(lambda: are_closed(lines), TOKEN_LEFT_S + CLOSED_S) < TOKEN_LEFT_S + CLOSED_S
    )


@pytest.mark.slow
async def test_signing_out_closes_sockets_at_both(two_servers: Fleet):
    """His tokens are those of his sign-in, wherever he is connected with them."""
    async with two_servers.session.post(
        f"{two_servers.nodes[0].site.url}/api/v1/auth/register", json=PASSWORD_BODY
    ) as answer:
        made = (await answer.json())["data"]
    lines = await connect_to_both(two_servers, made["accessToken"])
    body = {"refreshToken": made["refreshToken"]}
    assert (await post(two_servers, 1, "/auth/logout", body)).status == 200
    assert await wait_for(lambda: are_closed(lines), CLOSED_S) < CLOSED_S
    assert (await post(two_servers, 0, "/auth/refresh", body)).status == 401


@pytest.mark.slow
async def test_requests_are_counted_over_both(two_servers: Fleet):
    """As many pass as one server would let pass, and the others learn when to come again."""
    badge = {"Authorization": f"Bearer {two_servers.token_signer.sign('USER', 'usr_greedy')}"}

    async def ask(number: int) -> aiohttp.ClientResponse:
        url = f"{two_servers.nodes[number % 2].site.url}/api/v1/wallet/balance"
        async with two_servers.session.get(url, headers=badge) as answer:
            return answer

    began_s = time.perf_counter()
    answers = [await ask(number) for number in range(2 * PER_MIN)]
    refilled = (time.perf_counter() - began_s) * PER_MIN / 60 + 1
    passed = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 429]
    assert PER_MIN <= len(passed) <= PER_MIN + refilled
    assert len(passed) + len(refused) == 2 * PER_MIN
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)


@pytest.mark.slow
async def test_password_attempts_are_counted_over_both(two_servers: Fleet):
    """Whoever asks now here and now there has five tries and not ten."""
    wrong = {"userType": "USER", "phone": "+237600000002", "password": "wrong horse"}
    heard = [(await post(two_servers, at % 2, "/auth/login", wrong)).status for at in range(8)]
    assert heard == [401] * 5 + [429] * 3


@pytest.mark.slow
async def test_sockets_are_counted_over_both(two_servers: Fleet):
    """Six sockets of one person, three at each: the oldest has to go, wherever it is."""
    token = two_servers.token_signer.sign("RIDER", "rdr_many")
    held = [phone for _ in range(3) for phone in await connect_to_both(two_servers, token)]

    def gone() -> list[int]:
        return [at for at, phone in enumerate(held) if phone._transport is None]

    assert await wait_for(lambda: gone() != [], CLOSED_S) < CLOSED_S
    # Who came first at the two servers is who was noted first.
    assert gone() in ([0], [1])


@pytest.mark.slow
async def test_a_flood_of_sockets_over_both_ends_at_five(two_servers: Fleet):
    """Each server cuts its own sixth at once; over both the sockets that came last are left."""
    token = two_servers.token_signer.sign("RIDER", "rdr_flood")
    held = [phone for _ in range(15) for phone in await connect_to_both(two_servers, token)]

    def there() -> list[int]:
        return [at for at, phone in enumerate(held) if phone._transport is not None]

    assert await wait_for(lambda: len(there()) <= SOCKETS_PER_IDENTITY_MAX, CLOSED_S) < CLOSED_S
    assert len(there()) == SOCKETS_PER_IDENTITY_MAX
    assert min(there()) >= len(held) - 2 * SOCKETS_PER_IDENTITY_MAX


@pytest.mark.slow
async def test_sockets_of_a_killed_server_evict_no_others(two_servers: Fleet):
    """A quiet phone stays, though three others come back before the kill is known.

    For five seconds they were counted twice, and the oldest of seven was told to stay away.
    """
    token = two_servers.token_signer.sign("RIDER", "rdr_quiet")
    here, there = (node.site.url for node in two_servers.nodes)
    async with Redis.from_url(two_servers.valkey.url) as client:

        async def noted() -> Sequence[object]:
            """The server of each."""
            held = await client.zrange(connections(identity("rider", "rdr_quiet")), 0, -1)
            return [visit.split()[0] for visit in held]

        async def are_noted() -> bool:
            return len(await noted()) == 4 and await client.hlen(node_reports()) >= 2

        async def are_counted_once() -> bool:
            return await are_noted() and len(set(await noted())) == 1

        quiet = await connect(here, NAMESPACES["RIDER"], token, _ignore_event)
        for _ in range(3):
            await connect(there, NAMESPACES["RIDER"], token, _ignore_event)
        await Until().eventually(are_noted)
        await two_servers.nodes.pop().server.kill()
        back = [await connect(here, NAMESPACES["RIDER"], token, _ignore_event) for _ in range(3)]
        await Until().eventually(are_counted_once, 2 * NODE_EXPIRY_S)
    assert not any(phone._transport is None for phone in (quiet, *back))
    await two_servers.launch("all", int(there.rpartition(":")[2]))


@pytest.mark.slow
async def test_joins_are_counted_over_both(two_servers: Fleet):
    """Whoever has joined as often as he may at one of them is cut at the other as well."""
    token = two_servers.token_signer.sign("RIDER", "rdr_restless")
    here, there = (node.site.url for node in two_servers.nodes)
    for url in [here] * int(JOIN_RATE.burst) + [there] * int(JOIN_RATE.burst / 2):
        (await connect(url, NAMESPACES["RIDER"], token, _ignore_event)).close()

    async def is_cut() -> bool:
        try:
            (await connect(there, NAMESPACES["RIDER"], token, _ignore_event)).close()
        except ConnectionClosed:
            return True
        return False

    # By itself it would give for ever what is asked so seldom.
    await Until().eventually(is_cut, pause_s=1 / JOIN_RATE.per_s)


@pytest.mark.slow
async def test_without_redis_each_limits_by_itself(two_servers: Fleet):
    """Requests are answered as before and guesses are counted in the table; no code is sent."""
    await two_servers.valkey.kill()
    try:
        badge = {"Authorization": f"Bearer {two_servers.token_signer.sign('USER', 'usr_calm')}"}
        url = f"{two_servers.nodes[0].site.url}/api/v1/wallet/balance"
        async with two_servers.session.get(url, headers=badge) as answer:
            assert answer.status == 200
        wrong = {"userType": "USER", "phone": "+237600000003", "password": "wrong horse"}
        heard = [(await post(two_servers, at % 2, "/auth/login", wrong)).status for at in range(8)]
        assert heard == [401] * 5 + [429] * 3
        assert (await post(two_servers, 0, "/auth/otp/request", PHONE_BODY)).status == 503
    finally:
        await two_servers.valkey.start()
