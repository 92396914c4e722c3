"""Admission: which CONNECT gets a session, and where a client says its events stopped."""

from typing import Any

import pytest

from dispatch.accounts.standing import Standing
from dispatch.keys import Identity
from handlers.sessions.auth import UserType
from handlers.sessions.rate_limits import Rate
from handlers.sessions.session_registry import ResumePoint
from handlers.sockets.admission import Admission, parse_resume_point
from handlers.transport.socketio_server import ConnectRefused, JoinRateExceeded
from tests.handlers.socket_edge import RunningEdge


@pytest.mark.parametrize(
    ("auth", "namespace", "code"),
    [
        (None, "/rider", "token_required"),
        (["token"], "/rider", "token_required"),
        ({"token": "x"}, "/rider", "token_invalid"),
        ("own token", "/user", "wrong_user_type"),
    ],
)
async def test_a_connect_without_the_right_token_is_refused(
    edge: RunningEdge, auth: Any, namespace: str, code: str
):
    """The refusal's code goes into CONNECT_ERROR."""
    given = {"token": edge.issue_token()} if auth == "own token" else auth
    connection = edge.server.eio.open_session("127.0.0.1", "websocket")
    with pytest.raises(ConnectRefused) as refused:
        edge.gate.admit(connection, namespace, given)
    assert refused.value.code == code


@pytest.mark.parametrize("kind", ["USER", "VENDOR", "RIDER"])
async def test_a_token_gets_a_session_in_its_own_namespace(edge: RunningEdge, kind: UserType):
    """The session speaks for the token's owner from the moment of admission."""
    namespace = f"/{kind.lower()}"
    connection = edge.server.eio.open_session("127.0.0.1", "websocket")
    session = edge.gate.admit(connection, namespace, {"token": edge.issue_token(kind, "x_1")})
    assert (session.namespace, session.identity) == (namespace, f"{kind.lower()}:x_1")
    assert session.connected_at_ms == edge.clock.now_ms()


async def test_a_barred_identity_connects_with_no_token(edge: RunningEdge):
    """The refusal has standing and reason; other identities connect."""

    def standing_of(owner: Identity) -> tuple[Standing, str] | None:
        return (Standing.SUSPENDED, "fraud") if owner == "rider:rdr_1" else None

    admission = Admission(edge.server, edge.tokens, standing_of=standing_of)
    connection = edge.server.eio.open_session("127.0.0.1", "websocket")
    with pytest.raises(ConnectRefused) as refused:
        admission.admit(connection, "/rider", {"token": edge.issue_token("RIDER", "rdr_1")})
    assert refused.value.code == "not_approved"
    assert refused.value.details == {"standing": "SUSPENDED", "reason": "fraud"}
    admitted = admission.admit(connection, "/rider", {"token": edge.issue_token("RIDER", "rdr_2")})
    assert admitted.identity == "rider:rdr_2"


async def test_joins_of_an_identity_are_limited(edge: RunningEdge):
    """The third join of two at once is refused; a second later one more is admitted."""
    admission = Admission(edge.server, edge.tokens, Rate("join", 1, 2))
    connection, auth = (
        edge.server.eio.open_session("127.0.0.1", "websocket"),
        {"token": edge.issue_token()},
    )
    for _ in range(2):
        admission.admit(connection, "/rider", auth)
    with pytest.raises(JoinRateExceeded):
        admission.admit(connection, "/rider", auth)
    edge.clock.advance(1_000)
    assert admission.admit(connection, "/rider", auth).identity == "rider:rdr_1"


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (None, None),
        ({}, None),
        ({"resume": None}, None),
        ({"resume": {"epoch": "e1", "seq": 7}}, ResumePoint("e1", 7)),
        ({"resume": {"epoch": "e1", "seq": 7, "more": 1}}, ResumePoint("e1", 7)),
        ({"resume": {"epoch": None, "seq": 0}}, ResumePoint("", 0)),
        ({"resume": {"seq": "7"}}, ResumePoint("", 0)),
        ({"resume": 7}, ResumePoint("", 0)),
    ],
)
def test_a_resume_point_is_read_or_replaced(auth: Any, expected: ResumePoint | None):
    """An invalid one becomes the empty epoch, which gets a resync and no silent gap."""
    assert parse_resume_point(auth) == expected
