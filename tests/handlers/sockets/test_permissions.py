"""Role by command by ownership by stage over the sockets, each cell on real stores."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, get_args

import pytest

from dispatch.wire.commands import Audience as AudienceName
from handlers.sessions.auth import AUDIENCE_OF, Tokens, UserType
from handlers.sessions.rate_limits import RateLimits
from handlers.sessions.session_registry import ResumePoint, Session, SessionRegistry
from handlers.sockets import rider
from handlers.sockets.admission import Admission
from handlers.sockets.audiences import COMMANDS
from handlers.sockets.command_routes import AudienceRoutes
from handlers.sockets.command_runner import CommandRunner
from handlers.sockets.gate import Gate
from handlers.sockets.user import WATCHED_ORDERS_MAX
from handlers.transport.engineio_session import EngineIoSession
from handlers.transport.load_shedding import LoadShedder
from handlers.transport.socketio_server import SocketIoServer
from tests.handlers.permission_matrix import (
    ANSWERS_FOR_ANY_ORDER,
    COMMAND_RULES,
    NEW_COMMAND,
    STAGES,
    CommandRule,
)
from tests.handlers.sockets.composed_node import ComposedNode, owner_of

pytestmark = pytest.mark.engines

TYPE_OF: dict[str, UserType] = {
    "user": "USER",
    "vendor": "VENDOR",
    "rider": "RIDER",
    "ops": "ADMIN",
}


class GateHarness:
    """The gate with every audience, over a composed node; nothing goes over a network."""

    def __init__(self, node: ComposedNode) -> None:
        services = node.services
        self.node, self.clock = node, services.clock
        self.tokens = Tokens(services.settings)
        self.server = SocketIoServer(services.settings, self.clock, RateLimits(services.settings))
        self.gate = Gate(
            Admission(self.server, self.tokens),
            SessionRegistry(self.clock),
            self._audiences(),
            # Hundreds of guesses are compared by what they do; `tests.e2e.guess` compares times.
            CommandRunner(self.clock, not_found_s_min=0.0),
            LoadShedder(self.clock),
        )
        self.server.namespace_handler = self.gate

    def _audiences(self) -> list[AudienceRoutes[Any]]:
        contexts = self.node.contexts

        async def on_rider_connect(session: Session, _resume: ResumePoint | None) -> None:
            await rider.on_connect(contexts.rider, session)

        names: tuple[AudienceName, ...] = get_args(AudienceName)
        hooks = {"rider": on_rider_connect}
        return [
            AudienceRoutes(name, getattr(contexts, name), COMMANDS[name], hooks.get(name))
            for name in names
        ]

    async def request(self, audience: str, owner: str, name: str, body: object) -> Any:
        """Connect, send one command and disconnect; its acknowledgement."""
        with self.connect(audience, owner) as connection:
            return await self.request_over(connection, audience, name, body)

    @contextmanager
    def connect(self, audience: str, owner: str) -> Iterator[EngineIoSession]:
        """Keep a socket of an owner open inside the block."""
        connection = self.server.eio.open_session("127.0.0.1", "websocket")
        token = self.tokens.issue(TYPE_OF[audience], owner, 60, self.clock.now_ms())
        connection.receive(f"40/{audience},{json.dumps({'token': token})}")
        yield connection
        connection.end("client_closed")

    async def request_over(
        self, connection: EngineIoSession, audience: str, name: str, body: object
    ) -> Any:
        """Send one command over an open socket; its acknowledgement."""
        connection.receive(f"42/{audience},7{json.dumps([name, body])}")
        return await self._ack(connection, f"43/{audience},7")

    async def _ack(self, connection: EngineIoSession, prefix: str) -> Any:
        async with asyncio.timeout(10):
            while True:
                assert not connection.closed, "the connection was cut"
                for packet in await connection.send_buffer.poll():
                    if packet.startswith(prefix.encode()):
                        return json.loads(packet[len(prefix) :])[0]

    @contextmanager
    def counted_store_calls(self) -> Iterator[list[str]]:
        """Names of the calls to both stores inside the block."""
        calls, redis = self.node.dynamodb_calls, self.node.redis.commands
        calls.clear()

        async def record_command(*args: Any, **kwargs: Any) -> Any:
            calls.append(str(args[0]))
            return await execute(*args, **kwargs)

        execute = redis.execute_command
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(redis, "execute_command", record_command)
            yield calls


@pytest.fixture
async def harness(node: ComposedNode) -> AsyncIterator[GateHarness]:
    """Put the gate over a composed node."""
    opened = GateHarness(node)
    yield opened
    # The rider of the last request may still be loaded from a table that is about to go.
    await opened.gate.finish_commands()


def code_of(ack: dict[str, Any]) -> str:
    return "ok" if ack["ok"] else ack["error"]["code"]


def fill_body(rule: CommandRule, order_id: str, offer_id: str = "ofr_1") -> dict[str, Any]:
    names = {"{order}": order_id, "{offer}": offer_id}
    return {name: names.get(str(value), value) for name, value in rule.body.items()}


SERVED_COMMANDS = {(audience, name) for audience, table in COMMANDS.items() for name in table}


def test_every_command_has_a_rule():
    """Each command has a rule that says who may use it, on which orders, and when."""
    stages = ", ".join(STAGES)
    missing = [
        NEW_COMMAND.format(audience=audience, name=name, stages=stages)
        for audience, name in sorted(SERVED_COMMANDS - COMMAND_RULES.keys())
    ]
    assert not missing, "".join(missing)
    assert COMMAND_RULES.keys() <= SERVED_COMMANDS, "a rule has no command"


def test_a_rule_says_whether_it_is_about_an_order():
    """A rule names an order exactly where the command's struct has an `orderId`."""
    about = {
        key: "order_id" in COMMANDS[key[0]][key[1]].struct.__struct_fields__
        for key in COMMAND_RULES
    }
    assert {key: rule.is_about_an_order for key, rule in COMMAND_RULES.items()} == about


ORDER_RULES = {key: rule for key, rule in COMMAND_RULES.items() if rule.is_about_an_order}
NON_ORDER_RULES = {key: rule for key, rule in COMMAND_RULES.items() if not rule.is_about_an_order}


@pytest.mark.slow
@pytest.mark.parametrize(("audience", "name"), ORDER_RULES)
async def test_an_owner_may_use_what_fits_the_stage(harness: GateHarness, audience: str, name: str):
    """On its own order each command answers in each stage what its rule says."""
    rule = COMMAND_RULES[audience, name]

    async def code_in(stage: str) -> str:
        order = await harness.node.insert_order(stage)
        body = fill_body(rule, order.order_id)
        return code_of(await harness.request(audience, owner_of(audience, order), name, body))

    # Each order has parties of its own.
    codes = await asyncio.gather(*map(code_in, STAGES))
    assert dict(zip(STAGES, codes, strict=True)) == {s: rule.expected_code(s) for s in STAGES}


@pytest.mark.slow
async def test_anothers_order_looks_like_none(harness: GateHarness):
    """Every command, every stage: equal answers and store calls, whether the order exists or not.

    An answer with other store calls would show by its time that a guessed id exists.
    """
    theirs = [
        order.order_id for order in await asyncio.gather(*map(harness.node.insert_order, STAGES))
    ]
    wrong: dict[str, Any] = {}
    for (audience, name), rule in RULES_FOR_OTHERS_ORDERS.items():
        code = "ok" if name in ANSWERS_FOR_ANY_ORDER else "not_found"
        answers = {
            each: await request_as_stranger(harness, (audience, name), rule, each)
            for each in theirs
        }
        answer, calls = await request_as_stranger(harness, (audience, name), rule, "ord_none")
        assert code_of(json.loads(answer)) == code
        assert calls or name in ANSWERS_FOR_ANY_ORDER, "the store calls were not recorded"
        wrong[name] = set(answers.values()) - {(answer, calls)}
    assert wrong == {name: set() for _, name in RULES_FOR_OTHERS_ORDERS}
    assert [(await harness.node.services.orders.get(each)).version for each in theirs] == [1] * len(
        theirs
    )


# Operators see every order.
RULES_FOR_OTHERS_ORDERS = {key: rule for key, rule in ORDER_RULES.items() if key[0] != "ops"}


async def request_as_stranger(
    harness: GateHarness, key: tuple[str, str], rule: CommandRule, order_id: str
) -> tuple[str, tuple[str, ...]]:
    """A stranger's answer about an order id, without the id, and the store calls it took."""
    body = {**fill_body(rule, order_id), "commandId": f"cmd_{key[1]}_{order_id}"}
    with harness.counted_store_calls() as calls:
        answer = await harness.request(key[0], "stranger", key[1], body)
    return json.dumps(answer).replace(order_id, "X"), tuple(calls)


@pytest.mark.parametrize(("audience", "name"), NON_ORDER_RULES)
async def test_a_command_about_no_order_works_for_its_audience(
    harness: GateHarness, audience: str, name: str
):
    """It names no other identity than its sender."""
    answer = await harness.request(audience, "me", name, COMMAND_RULES[audience, name].body)
    assert code_of(answer) == "ok", answer


@pytest.mark.parametrize("audience", COMMANDS)
async def test_the_commands_of_other_audiences_are_unknown(harness: GateHarness, audience: str):
    """Every command of every other audience, on an order that is the caller's own."""
    order = await harness.node.insert_order("assigned")
    owner = owner_of(audience, order)
    others = {key for key in COMMAND_RULES if key[1] not in COMMANDS[audience]}
    codes = {
        name: code_of(await harness.request(audience, owner, name, fill_body(rule, order.order_id)))
        for (_, name), rule in ((key, COMMAND_RULES[key]) for key in sorted(others))
    }
    assert len(codes) >= 10
    assert set(codes.values()) == {"malformed"}


async def test_a_reassigned_rider_has_no_right_to_its_former_order(harness: GateHarness):
    """The order is `not_found` for it after the reassignment."""
    order = await harness.node.insert_order("assigned")
    rider_id = owner_of("rider", order)
    body = {"orderId": order.order_id}
    taken = await harness.request("ops", "adm_1", "reassign", body)
    after = [
        code_of(
            await harness.request(
                "rider", rider_id, name, fill_body(COMMAND_RULES["rider", name], order.order_id)
            )
        )
        for name in ("arrived_pickup", "pick_up", "complete_delivery", "release_delivery")
    ]
    assert code_of(taken) == "ok"
    assert after == ["not_found"] * 4


async def test_finished_orders_do_not_count_as_watched(harness: GateHarness):
    """A socket that watches the most orders may watch another once one of them has ended."""
    placed = [
        (await harness.node.insert_order("placed", "usr_days")).order_id
        for _ in range(WATCHED_ORDERS_MAX)
    ]
    later = [(await harness.node.insert_order("placed", "usr_days")).order_id for _ in range(2)]
    with harness.connect("user", "usr_days") as connection:

        async def ask(name: str, order_id: str, **why: str) -> str:
            body = {"orderId": order_id, **why}
            return code_of(await harness.request_over(connection, "user", name, body))

        assert {await ask("subscribe_order", each) for each in placed} == {"ok"}
        assert await ask("subscribe_order", later[0]) == "rate_limited"
        assert await ask("cancel_order", placed[3], reason="late") == "ok"
        assert await ask("subscribe_order", later[0]) == "ok"
        assert await ask("subscribe_order", later[1]) == "rate_limited"
        followed = [
            each for each in (*placed, *later) if harness.node.services.watchers.is_watched(each)
        ]
        assert followed == [*placed[:3], *placed[4:], later[0]]


@pytest.mark.parametrize("kind", TYPE_OF.values())
@pytest.mark.parametrize("audience", COMMANDS)
async def test_a_token_opens_its_own_namespace(harness: GateHarness, kind: UserType, audience: str):
    """Every kind of token in every namespace."""
    connection = harness.server.eio.open_session("127.0.0.1", "websocket")
    token = harness.tokens.issue(kind, "me", 60, harness.clock.now_ms())
    connection.receive(f"40/{audience},{json.dumps({'token': token})}")
    packet = (await connection.send_buffer.poll())[1].decode()
    expected = "40" if AUDIENCE_OF[kind] == audience else "44"
    assert packet.startswith(f"{expected}/{audience},")
    assert ("wrong_user_type" in packet) is (expected == "44")
    connection.end("client_closed")
