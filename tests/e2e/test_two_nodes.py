"""Two servers that share their stores: revocations, limits and sockets count over both."""

import time
from collections.abc import Sequence
from contextlib import suppress

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bench.common.client import CommandRefused, ConnectionClosed, SocketClient, connect
from bench.common.harness import NAMESPACES
from city.client.tokens import TOKEN_LIFETIME_S, TokenSigner, UserType
from dispatch.keys import connections, identity, node_reports
from handlers.sessions.rate_limits import JOIN_RATE
from handlers.sessions.session_registry import SOCKETS_PER_IDENTITY_MAX
from tests.e2e.fleet import Fleet, fleet
from tests.e2e.listeners import wait_for
from tests.waiting import Until

# Source: docs/promises.md, sockets of a revoked or expired token close within five seconds.
CLOSED_S = 5.0
# A server silent for five seconds counts as gone; two more until another one checks.
NODE_EXPIRY_S = 7.0
PER_MIN = 60
TOKEN_LEFT_S = 3
PHONE_BODY = {"userType": "RIDER", "phone": "+237600000001"}
OPERATOR: tuple[UserType, str] = ("ADMIN", "adm_1")
PASSWORD_BODY = {**PHONE_BODY, "password": "correct horse"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two_servers(tmp_path_factory):
    """Two servers with production's limits, of which one is lowered."""
    folder = tmp_path_factory.mktemp("two")
    limits = {"RATE_LIMITS": "on", "HTTP_REQUESTS_PER_MIN": str(PER_MIN)}
    async with fleet(folder, ["all", "all"], **limits) as servers:
        yield servers


async def connect_to_both(servers: Fleet, token: str) -> list[SocketClient]:
    """Connect the same rider to both servers."""
    urls = [node.site.url for node in servers.nodes]
    return [await connect(url, NAMESPACES["RIDER"], token, _ignore_event) for url in urls]


def _ignore_event(_name: str, _body: object, _at_s: float) -> None:
    """Event callback of clients whose events are not checked."""


def are_closed(clients: list[SocketClient]) -> bool:
    return all(client.is_closed for client in clients)


async def post(servers: Fleet, node: int, path: str, body: object) -> aiohttp.ClientResponse:
    url = f"{servers.nodes[node].site.url}/api/v1{path}"
    async with servers.session.post(url, json=body) as answer:
        await answer.read()
        return answer


@pytest.mark.slow
async def test_revoking_tokens_closes_sockets_at_both(two_servers: Fleet):
    """Revoking a user's tokens at one server closes its sockets at both, and no others."""
    revoked = await connect_to_both(two_servers, two_servers.token_signer.sign("RIDER", "rdr_gone"))
    others = await connect_to_both(two_servers, two_servers.token_signer.sign("RIDER", "rdr_here"))
    body = {"userType": "RIDER", "userId": "rdr_gone"}
    await two_servers.nodes[0].site.request(
        "POST", "/admin/tokens/revoke", ("ADMIN", "adm_1"), body
    )
    assert await wait_for(lambda: are_closed(revoked), CLOSED_S) < CLOSED_S
    assert not any(client.is_closed for client in others)


@pytest.mark.slow
async def test_a_suspension_closes_sockets_at_both(two_servers: Fleet):
    """A suspended rider's sockets close, and a new token of its own issuer opens none."""
    signer = two_servers.token_signer
    suspended = await connect_to_both(two_servers, signer.sign("RIDER", "rdr_bad"))
    others = await connect_to_both(two_servers, signer.sign("RIDER", "rdr_good"))
    site = two_servers.nodes[0].site
    path = "/admin/riders/rdr_bad/standing"
    await site.request("POST", path, OPERATOR, {"standing": "SUSPENDED", "reason": "fraud"})
    assert await wait_for(lambda: are_closed(suspended), CLOSED_S) < CLOSED_S
    assert not any(client.is_closed for client in others)

    issued_ms = int(time.time() * 1000) + 2_000
    later = TokenSigner(signer.secret, lambda: issued_ms)
    with pytest.raises(CommandRefused, match="not_approved"):
        await connect_to_both(two_servers, later.sign("RIDER", "rdr_bad"))
    await site.request("POST", path, OPERATOR, {"standing": "APPROVED", "reason": "a mistake"})

    async def connects() -> bool:
        with suppress(CommandRefused):
            await connect_to_both(two_servers, later.sign("RIDER", "rdr_bad"))
            return True
        return False

    await Until().eventually(connects, pause_s=0.2)


@pytest.mark.slow
async def test_sockets_end_with_their_token_at_both(two_servers: Fleet):
    """Sockets close when the token that opened them expires."""
    signed_ms = int(time.time() * 1000) - (TOKEN_LIFETIME_S - TOKEN_LEFT_S) * 1000
    signer = TokenSigner(two_servers.token_signer.secret, lambda: signed_ms)
    clients = await connect_to_both(two_servers, signer.sign("RIDER", "rdr_short"))
    assert (
        await wait_for(lambda: are_closed(clients), TOKEN_LEFT_S + CLOSED_S)
        < TOKEN_LEFT_S + CLOSED_S
    )


@pytest.mark.slow
async def test_signing_out_closes_sockets_at_both(two_servers: Fleet):
    """Signing out at one server closes the sockets at both and ends the refresh token."""
    async with two_servers.session.post(
        f"{two_servers.nodes[0].site.url}/api/v1/auth/register", json=PASSWORD_BODY
    ) as answer:
        session = (await answer.json())["data"]
    clients = await connect_to_both(two_servers, session["accessToken"])
    body = {"refreshToken": session["refreshToken"]}
    assert (await post(two_servers, 1, "/auth/logout", body)).status == 200
    assert await wait_for(lambda: are_closed(clients), CLOSED_S) < CLOSED_S
    assert (await post(two_servers, 0, "/auth/refresh", body)).status == 401


@pytest.mark.slow
async def test_requests_are_counted_over_both(two_servers: Fleet):
    """As many requests pass as at one server; the others get 429 with Retry-After."""
    headers = {"Authorization": f"Bearer {two_servers.token_signer.sign('USER', 'usr_greedy')}"}

    async def send(number: int) -> aiohttp.ClientResponse:
        url = f"{two_servers.nodes[number % 2].site.url}/api/v1/wallet/balance"
        async with two_servers.session.get(url, headers=headers) as answer:
            return answer

    began_s = time.perf_counter()
    answers = [await send(number) for number in range(2 * PER_MIN)]
    refilled = (time.perf_counter() - began_s) * PER_MIN / 60 + 1
    passed = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 429]
    assert PER_MIN <= len(passed) <= PER_MIN + refilled
    assert len(passed) + len(refused) == 2 * PER_MIN
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)


@pytest.mark.slow
async def test_password_attempts_are_counted_over_both(two_servers: Fleet):
    """Five password attempts are allowed over both servers together."""
    wrong = {"userType": "USER", "phone": "+237600000002", "password": "wrong horse"}
    statuses = [
        (await post(two_servers, number % 2, "/auth/login", wrong)).status for number in range(8)
    ]
    assert statuses == [401] * 5 + [429] * 3


@pytest.mark.slow
async def test_sockets_are_counted_over_both(two_servers: Fleet):
    """Of six sockets of one identity, three at each server, the oldest is closed."""
    token = two_servers.token_signer.sign("RIDER", "rdr_many")
    clients = [client for _ in range(3) for client in await connect_to_both(two_servers, token)]

    def closed() -> list[int]:
        return [index for index, client in enumerate(clients) if client.is_closed]

    assert await wait_for(lambda: closed() != [], CLOSED_S) < CLOSED_S
    # Whichever server registered its socket first.
    assert closed() in ([0], [1])


@pytest.mark.slow
async def test_a_flood_of_sockets_over_both_ends_at_five(two_servers: Fleet):
    """Of thirty sockets of one identity five stay open, all of them among the newest ten."""
    token = two_servers.token_signer.sign("RIDER", "rdr_flood")
    clients = [client for _ in range(15) for client in await connect_to_both(two_servers, token)]

    def open_indices() -> list[int]:
        return [index for index, client in enumerate(clients) if not client.is_closed]

    assert (
        await wait_for(lambda: len(open_indices()) <= SOCKETS_PER_IDENTITY_MAX, CLOSED_S) < CLOSED_S
    )
    assert len(open_indices()) == SOCKETS_PER_IDENTITY_MAX
    assert min(open_indices()) >= len(clients) - 2 * SOCKETS_PER_IDENTITY_MAX


@pytest.mark.slow
async def test_sockets_of_a_killed_server_evict_no_others(two_servers: Fleet):
    """Sockets of a killed server don't count: an older socket at the other one stays open.

    For five seconds they were counted twice, and the oldest of seven was closed.
    """
    token = two_servers.token_signer.sign("RIDER", "rdr_quiet")
    first_url, second_url = (node.site.url for node in two_servers.nodes)
    async with Redis.from_url(two_servers.valkey.url) as redis:

        async def registered_nodes() -> Sequence[object]:
            """The node of each registered socket."""
            entries = await redis.zrange(connections(identity("rider", "rdr_quiet")), 0, -1)
            return [connection.split()[0] for connection in entries]

        async def are_registered() -> bool:
            return len(await registered_nodes()) == 4 and await redis.hlen(node_reports()) >= 2

        async def are_counted_once() -> bool:
            return await are_registered() and len(set(await registered_nodes())) == 1

        quiet = await connect(first_url, NAMESPACES["RIDER"], token, _ignore_event)
        for _ in range(3):
            await connect(second_url, NAMESPACES["RIDER"], token, _ignore_event)
        await Until().eventually(are_registered)
        await two_servers.nodes.pop().server.kill()
        reconnected = [
            await connect(first_url, NAMESPACES["RIDER"], token, _ignore_event) for _ in range(3)
        ]
        await Until().eventually(are_counted_once, 2 * NODE_EXPIRY_S)
    assert not any(client.is_closed for client in (quiet, *reconnected))
    await two_servers.launch("all", int(second_url.rpartition(":")[2]))


async def is_join_accepted(url: str, token: str) -> bool:
    """Join once and disconnect; whether the server accepted it."""
    try:
        client = await connect(url, NAMESPACES["RIDER"], token, _ignore_event)
    except ConnectionClosed:
        return False
    client.close()
    return True


@pytest.mark.slow
async def test_joins_are_counted_over_both(two_servers: Fleet):
    """A token that has joined too often at one server is refused at the other as well.

    The servers exchange their counts every second, which may be during the joins at the second one.
    """
    token = two_servers.token_signer.sign("RIDER", "rdr_restless")
    first_url, second_url = (node.site.url for node in two_servers.nodes)
    accepted = [await is_join_accepted(first_url, token) for _ in range(int(JOIN_RATE.burst))]
    for _ in range(int(JOIN_RATE.burst / 2)):
        await is_join_accepted(second_url, token)

    async def is_refused() -> bool:
        return not await is_join_accepted(second_url, token)

    assert all(accepted)
    # The second server's own bucket is half full, and refills as fast as it is asked here.
    await Until().eventually(is_refused, pause_s=1 / JOIN_RATE.per_s)


@pytest.mark.slow
async def test_without_redis_each_limits_by_itself(two_servers: Fleet):
    """Without Redis requests pass, attempts are counted in the table, and no code is sent."""
    await two_servers.valkey.kill()
    try:
        headers = {"Authorization": f"Bearer {two_servers.token_signer.sign('USER', 'usr_calm')}"}
        url = f"{two_servers.nodes[0].site.url}/api/v1/wallet/balance"
        async with two_servers.session.get(url, headers=headers) as answer:
            assert answer.status == 200
        wrong = {"userType": "USER", "phone": "+237600000003", "password": "wrong horse"}
        statuses = [
            (await post(two_servers, number % 2, "/auth/login", wrong)).status
            for number in range(8)
        ]
        assert statuses == [401] * 5 + [429] * 3
        assert (await post(two_servers, 0, "/auth/otp/request", PHONE_BODY)).status == 503
    finally:
        await two_servers.valkey.start()
