"""Role by command by ownership by stage over the sockets, each cell on real stores."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from dispatch import settings
from dispatch.clock import ManualClock
from dispatch.model import DispatchState as D
from dispatch.model import Order
from dispatch.orders import store as orders_store
from dispatch.riders.store import claim_order
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.wire.commands import Audience as AudienceName
from handlers.app.composition import Infrastructure, compose
from handlers.app.contexts import Desk
from handlers.sessions.auth import AUDIENCE_OF, Tokens, UserType
from handlers.sessions.rate_limits import RateLimits
from handlers.sessions.session_registry import ResumePoint, Session, SessionRegistry
from handlers.sockets import rider
from handlers.sockets.audiences import COMMANDS
from handlers.sockets.gate import AudienceRoutes, Gate
from handlers.sockets.user import WATCHED_ORDERS_MAX
from handlers.transport.engineio_session import EngineIoSession
from handlers.transport.socketio_server import SocketIoServer
from ledger.core.pricing import Pricing
from ledger.dynamodb.client import DynamoTable
from ledger.posting.ledger import Ledger
from ledger.records.cash_holds import CASH_LIMIT_XAF, reserve_cash
from tests.factories import a_cash_payment, an_offer, an_order
from tests.handlers.permission_matrix import (
    ANSWERS_FOR_ANY_ORDER,
    COMMAND_RULES,
    NEW_COMMAND,
    STAGES,
    CommandRule,
)
from tests.waiting import Until

pytestmark = pytest.mark.engines

TYPE_OF: dict[str, UserType] = {
    "user": "USER",
    "vendor": "VENDOR",
    "rider": "RIDER",
    "ops": "ADMIN",
}
_numbers = count(1)


class GateHarness:
    """Every audience at its own door, over a desk on real stores; nothing goes over a network."""

    def __init__(self, desk: Desk, table: DynamoTable, redis: RedisClients) -> None:
        ours = desk.settings
        self.desk, self.table, self.redis = desk, table, redis
        self.ledger = Ledger(table, desk.clock.now_ms)
        self.tokens = Tokens(ours)
        self.server = SocketIoServer(ours, desk.clock, RateLimits(ours))
        self.gate = Gate(
            self.server, SessionRegistry(desk.clock), self.tokens, desk, self._audiences()
        )

    def _audiences(self) -> list[AudienceRoutes]:
        async def seat(session: Session, _resume: ResumePoint | None) -> None:
            await rider.on_connect(self.desk, session)

        hooks = {"rider": seat}
        names: tuple[AudienceName, ...] = get_args(AudienceName)
        return [AudienceRoutes(name, COMMANDS[name], hooks.get(name)) for name in names]

    async def request(self, audience: str, owner: str, name: str, body: object) -> Any:
        """Come, ask once, go; what was acknowledged."""
        with self.connect(audience, owner) as connection:
            return await self.request_over(connection, audience, name, body)

    @contextmanager
    def connect(self, audience: str, owner: str) -> Iterator[EngineIoSession]:
        """Come, and go at the end."""
        connection = self.server.eio.open_session("127.0.0.1", "websocket")
        token = self.tokens.issue(TYPE_OF[audience], owner, 60, self.desk.clock.now_ms())
        connection.receive(f"40/{audience},{json.dumps({'token': token})}")
        yield connection
        connection.end("client_closed")

    async def request_over(
        self, connection: EngineIoSession, audience: str, name: str, body: object
    ) -> Any:
        """Ask over a socket that stays open; what was acknowledged."""
        connection.receive(f"42/{audience},7{json.dumps([name, body])}")
        return await self._ack(connection, f"43/{audience},7")

    async def _ack(self, connection: EngineIoSession, head: str) -> Any:
        async with asyncio.timeout(10):
            while True:
                assert not connection.closed, "it was cut"
                for packet in await connection.send_buffer.poll():
                    if packet.startswith(head.encode()):
                        return json.loads(packet[len(head) :])[0]

    async def insert_order(self, stage: str, user: str | None = None) -> Order:
        """A cash order in a stage, with people of its own but for a user who is named."""
        number, now_ms = next(_numbers), self.desk.clock.now_ms()
        status, state = STAGES[stage]
        riding = f"rdr_{number}"
        offers = {riding: an_offer(made_at_ms=now_ms)} if state is D.OFFERED else {}
        made = an_order(
            status,
            state,
            a_cash_payment(),
            rider=riding if state in STATES_WITH_RIDER else None,
            offers=offers,
        )
        order = replace(
            made,
            order_id=f"ord_{number}",
            user_id=user or f"usr_{number}",
            vendor_id=f"ven_{number}",
        )
        writes = [orders_store.insert_order(order), self.ledger.open_cash_funds(*_parties(order))]
        if order.rider_id is not None:
            total = order.pricing.total
            held = reserve_cash(order.order_id, riding, total, CASH_LIMIT_XAF, now_ms)
            writes += [claim_order(riding, order.order_id, 1), *held.writes]
        await self.table.transact(writes)
        return order

    @contextmanager
    def counted_store_calls(self) -> Iterator[list[str]]:
        """Names of the calls to both stores inside the block."""
        calls: list[str] = []

        async def note_call(operation: str, *args: Any, **kwargs: Any) -> Any:
            calls.append(operation)
            return await call(operation, *args, **kwargs)

        async def note_command(*args: Any, **kwargs: Any) -> Any:
            calls.append(str(args[0]))
            return await command(*args, **kwargs)

        call, command = self.table._call, self.redis.commands.execute_command
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.table, "_call", note_call)
            patch.setattr(self.redis.commands, "execute_command", note_command)
            yield calls


def _parties(order: Order) -> tuple[str, str, str | None, Pricing]:
    return order.order_id, order.user_id, order.vendor_id, order.pricing


# In these an order has a rider.
STATES_WITH_RIDER = frozenset({D.ASSIGNED, D.AT_PICKUP, D.PICKED_UP, D.AT_DROPOFF, D.DONE})


@pytest.fixture
async def harness(
    table: DynamoTable, redis: RedisClients, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[GateHarness]:
    # Hundreds of guesses are looked at here for what they do, and elsewhere for how long they take.
    monkeypatch.setattr("handlers.sockets.gate.NOT_FOUND_S_MIN", 0)
    ours = settings.read({"RATE_LIMITS": "off"}, dev=True)
    scripts = Scripts(redis.commands)
    await scripts.load()
    desk, live = compose(Infrastructure(ours, ManualClock(), table, redis, scripts, "node-a"))
    async with Until().running(live.pubsub.run):
        opened = GateHarness(desk, table, redis)
        yield opened
        # A rider who asked and left is still being seated, out of a table that is about to go.
        await opened.gate.finish_commands()


def code_of(ack: dict[str, Any]) -> str:
    return "ok" if ack["ok"] else ack["error"]["code"]


def fill_body(rule: CommandRule, order_id: str, offer_id: str = "ofr_1") -> dict[str, Any]:
    names = {"{order}": order_id, "{offer}": offer_id}
    return {name: names.get(str(value), value) for name, value in rule.body.items()}


def owner_of(audience: str, order: Order) -> str:
    """Whose command it would be: the one who has it, or to whom it was offered."""
    people = {"user": order.user_id, "vendor": order.vendor_id}
    return people.get(audience) or order.order_id.replace(
        "ord", "adm" if audience == "ops" else "rdr"
    )


SERVED_COMMANDS = {(audience, name) for audience, table in COMMANDS.items() for name in table}


def test_every_command_has_its_row():
    """Nobody adds a command without saying who may use it, on what, and when."""
    stages = ", ".join(STAGES)
    missing = [
        NEW_COMMAND.format(audience=audience, name=name, stages=stages)
        for audience, name in sorted(SERVED_COMMANDS - COMMAND_RULES.keys())
    ]
    assert not missing, "".join(missing)
    assert COMMAND_RULES.keys() <= SERVED_COMMANDS, "these rows have no command any more"


def test_a_row_says_whether_it_is_about_an_order():
    """A command whose struct has an orderId is tried with orders of others, and no other is."""
    about = {
        key: "order_id" in COMMANDS[key[0]][key[1]].struct.__struct_fields__
        for key in COMMAND_RULES
    }
    assert {key: told.is_about_an_order for key, told in COMMAND_RULES.items()} == about


ORDER_RULES = {key: told for key, told in COMMAND_RULES.items() if told.is_about_an_order}
NON_ORDER_RULES = {key: told for key, told in COMMAND_RULES.items() if not told.is_about_an_order}


@pytest.mark.slow
@pytest.mark.parametrize(("audience", "name"), ORDER_RULES)
async def test_an_owner_may_what_fits_the_stage(harness: GateHarness, audience: str, name: str):
    """His own order: in each stage exactly what the table says."""
    told = COMMAND_RULES[audience, name]

    async def heard_in(stage: str) -> str:
        order = await harness.insert_order(stage)
        body = fill_body(told, order.order_id)
        return code_of(await harness.request(audience, owner_of(audience, order), name, body))

    # Each order has people of its own.
    heard = await asyncio.gather(*map(heard_in, STAGES))
    assert dict(zip(STAGES, heard, strict=True)) == {s: told.expected_code(s) for s in STAGES}


@pytest.mark.slow
async def test_what_is_not_yours_is_not_there(harness: GateHarness):
    """Every command, every stage: the same words and the same calls, whether the order is there.

    An answer that took another way would tell by its time that a guessed id was right.
    """
    theirs = [order.order_id for order in await asyncio.gather(*map(harness.insert_order, STAGES))]
    wrong: dict[str, Any] = {}
    for (audience, name), told in RULES_FOR_OTHERS_ORDERS.items():
        code = "ok" if name in ANSWERS_FOR_ANY_ORDER else "not_found"
        answers = {
            each: await request_as_stranger(harness, (audience, name), told, each)
            for each in theirs
        }
        answer, way = await request_as_stranger(harness, (audience, name), told, "ord_none")
        assert code_of(json.loads(answer)) == code
        wrong[name] = set(answers.values()) - {(answer, way)}
    assert wrong == {name: set() for _, name in RULES_FOR_OTHERS_ORDERS}
    assert [(await harness.desk.orders.get(each)).version for each in theirs] == [1] * len(theirs)


# Operators see everybody's.
RULES_FOR_OTHERS_ORDERS = {key: told for key, told in ORDER_RULES.items() if key[0] != "ops"}


async def request_as_stranger(
    hall: GateHarness, key: tuple[str, str], rule: CommandRule, order_id: str
) -> tuple[str, tuple[str, ...]]:
    """What a stranger hears of an id, without the id, and what it took to tell him."""
    body = {**fill_body(rule, order_id), "commandId": f"cmd_{key[1]}_{order_id}"}
    with hall.counted_store_calls() as calls:
        answer = await hall.request(key[0], "stranger", key[1], body)
    return json.dumps(answer).replace(order_id, "X"), tuple(calls)


@pytest.mark.parametrize(("audience", "name"), NON_ORDER_RULES)
async def test_what_is_about_no_order_is_about_oneself(
    harness: GateHarness, audience: str, name: str
):
    """It works for whoever may come into the namespace, and names nobody else."""
    answer = await harness.request(audience, "me", name, COMMAND_RULES[audience, name].body)
    assert code_of(answer) == "ok", answer


@pytest.mark.parametrize("audience", COMMANDS)
async def test_the_commands_of_others_are_unknown(harness: GateHarness, audience: str):
    """Every command of every other role, on an order that is the caller's own."""
    order = await harness.insert_order("assigned")
    owner = owner_of(audience, order)
    others = {key for key in COMMAND_RULES if key[1] not in COMMANDS[audience]}
    heard = {
        name: code_of(await harness.request(audience, owner, name, fill_body(told, order.order_id)))
        for (_, name), told in ((key, COMMAND_RULES[key]) for key in sorted(others))
    }
    assert len(heard) >= 10
    assert set(heard.values()) == {"malformed"}


async def test_a_rider_who_lost_an_order_has_no_right_to_it(harness: GateHarness):
    """Rights end with the reassignment, on the socket that is open all the while."""
    order = await harness.insert_order("assigned")
    riding = owner_of("rider", order)
    one = {"orderId": order.order_id}
    taken = await harness.request("ops", "adm_1", "reassign", one)
    after = [
        code_of(
            await harness.request(
                "rider", riding, name, fill_body(COMMAND_RULES["rider", name], order.order_id)
            )
        )
        for name in ("arrived_pickup", "pick_up", "complete_delivery", "release_delivery")
    ]
    assert code_of(taken) == "ok"
    assert after == ["not_found"] * 4


async def test_orders_that_have_ended_make_room(harness: GateHarness):
    """An app that was open for days reached the limit by orders delivered long ago."""
    placed = [
        (await harness.insert_order("placed", "usr_days")).order_id
        for _ in range(WATCHED_ORDERS_MAX)
    ]
    later = [(await harness.insert_order("placed", "usr_days")).order_id for _ in range(2)]
    with harness.connect("user", "usr_days") as connection:

        async def ask(name: str, order_id: str, **why: str) -> str:
            body = {"orderId": order_id, **why}
            return code_of(await harness.request_over(connection, "user", name, body))

        assert {await ask("subscribe_order", each) for each in placed} == {"ok"}
        assert await ask("subscribe_order", later[0]) == "rate_limited"
        assert await ask("cancel_order", placed[3], reason="late") == "ok"
        assert await ask("subscribe_order", later[0]) == "ok"
        assert await ask("subscribe_order", later[1]) == "rate_limited"
        followed = [each for each in (*placed, *later) if harness.desk.watchers.is_watched(each)]
        assert followed == [*placed[:3], *placed[4:], later[0]]


@pytest.mark.parametrize("kind", TYPE_OF.values())
@pytest.mark.parametrize("audience", COMMANDS)
async def test_a_token_opens_its_own_namespace(harness: GateHarness, kind: UserType, audience: str):
    """Every kind of token at every door."""
    connection = harness.server.eio.open_session("127.0.0.1", "websocket")
    token = harness.tokens.issue(kind, "me", 60, harness.desk.clock.now_ms())
    connection.receive(f"40/{audience},{json.dumps({'token': token})}")
    packet = (await connection.send_buffer.poll())[1].decode()
    expected = "40" if AUDIENCE_OF[kind] == audience else "44"
    assert packet.startswith(f"{expected}/{audience},")
    assert ("wrong_user_type" in packet) is (expected == "44")
    connection.end("client_closed")
