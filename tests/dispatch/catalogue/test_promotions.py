"""Promotions: created once, applied within their terms, stopped and listed by state."""

import msgspec
import pytest

from dispatch.catalogue.promotions import Promotions, promotion_view
from dispatch.clock import ManualClock
from dispatch.errors import Refusal, Refused
from dispatch.events.audit_records import DAY_MS
from dispatch.events.idempotency_records import request_key
from dispatch.storage.paging import PageRequest
from dispatch.wire.http.promotions import NewPromotion
from ledger.core.pricing import DEFAULT_RATES, price_goods
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query
from ledger.records.promotions import PromotionState

PRICING = price_goods(DEFAULT_RATES["FOOD"], 10_000)
HOUR_MS = 3_600_000


@pytest.fixture
def promotions(table: DynamoTable, clock: ManualClock) -> Promotions:
    return Promotions(table, clock)


def promotion(clock: ManualClock, **fields: object) -> NewPromotion:
    """A promotion of 1,000 XAF for FOOD, for an hour from now on."""
    terms = {
        "code": "WELCOME",
        "services": ["FOOD"],
        "amount": 1_000,
        "perUser": 1,
        "budget": 50_000,
        "endsAt": clock.now_ms() + HOUR_MS,
        **fields,
    }
    given = {name: value for name, value in terms.items() if value is not None}
    return msgspec.convert(given, NewPromotion)


async def refusal_of(call) -> Refused:
    with pytest.raises(Refused) as refused:
        await call
    return refused.value


async def test_discount_is_applied_by_any_spelling(promotions: Promotions, clock: ManualClock):
    """A code is found in upper and lower case, and its amount is taken off the total."""
    await promotions.create(promotion(clock, code="Welcome"), "adm_1")
    discounted = await promotions.apply("welcome", "usr_1", PRICING)
    assert discounted.pricing.total == PRICING.total - 1_000


async def test_unknown_code_is_refused(promotions: Promotions):
    """An unknown code is refused with its reason, and not found by operators."""
    refused = await refusal_of(promotions.apply("NOPE", "usr_1", PRICING))
    assert (refused.code, refused.details) == (Refusal.PROMO_REFUSED, {"reason": "unknown"})
    assert (await refusal_of(promotions.get("NOPE"))).code is Refusal.NOT_FOUND


async def test_expired_promotion_is_refused(promotions: Promotions, clock: ManualClock):
    """After its end a promotion gives no discount."""
    await promotions.create(promotion(clock), "adm_1")
    clock.advance(HOUR_MS)
    refused = await refusal_of(promotions.apply("WELCOME", "usr_1", PRICING))
    assert refused.code is Refusal.PROMO_REFUSED


async def test_stopped_promotion_is_refused(promotions: Promotions, clock: ManualClock):
    """A stopped promotion gives no discount, and stopping it again changes nothing."""
    await promotions.create(promotion(clock), "adm_1")
    stopped = await promotions.stop("welcome", "adm_1", "budget")
    assert stopped.promo_state is PromotionState.STOPPED
    clock.advance(1)
    assert await promotions.stop("WELCOME", "adm_2", "again") == stopped
    refused = await refusal_of(promotions.apply("WELCOME", "usr_1", PRICING))
    assert refused.code is Refusal.PROMO_REFUSED


@pytest.mark.parametrize(
    "fields",
    [
        {"amount": None},
        {"percentBps": 1_000},
        {"cap": 500},
        {"startsAt": 1_763_000_000_000 + 2 * HOUR_MS},
        {"endsAt": 1_763_000_000_000},
    ],
)
async def test_contradictory_terms_are_refused(
    promotions: Promotions, clock: ManualClock, fields: dict[str, object]
):
    """Neither or both kinds of discount, a cap on an amount, and an end before the start."""
    refused = await refusal_of(promotions.create(promotion(clock, **fields), "adm_1"))
    assert refused.code is Refusal.MALFORMED


async def test_code_is_used_once(promotions: Promotions, clock: ManualClock):
    """A code that exists, stopped or not, is a conflict."""
    await promotions.create(promotion(clock), "adm_1")
    await promotions.stop("WELCOME", "adm_1", "over")
    refused = await refusal_of(promotions.create(promotion(clock, code="welcome"), "adm_2"))
    assert refused.code is Refusal.CONFLICT


async def test_repeated_creation_gets_the_first_answer(promotions: Promotions, clock: ManualClock):
    """A repeat of a request with its key gets the first answer and creates nothing."""
    key = request_key("ops:adm_1", "key_1", b"body")
    first = await promotions.create(promotion(clock), "adm_1", key)
    clock.advance(1)
    repeated = await promotions.create(promotion(clock), "adm_1", key)
    assert msgspec.json.encode(repeated) == msgspec.json.encode(first)
    assert first == promotion_view(await promotions.get("WELCOME"))


async def test_changes_are_audited(promotions: Promotions, table: DynamoTable, clock: ManualClock):
    """Creating and stopping write an audit record each."""
    await promotions.create(promotion(clock), "adm_1")
    clock.advance(1)
    await promotions.stop("WELCOME", "adm_2", "fraud")
    page = await table.query(Query(pk=f"AUDIT#{clock.now_ms() // DAY_MS}"))
    records = [(item["action"], item["actor"], item["resource"]) for item in page.items]
    assert records == [
        ("create_promotion", "adm_1", "promotion:WELCOME"),
        ("stop_promotion", "adm_2", "promotion:WELCOME"),
    ]


async def test_promotions_are_listed_by_state(promotions: Promotions, clock: ManualClock):
    """Each state has its list, newest first, in pages."""
    for code in ("FIRST", "SECOND", "THIRD"):
        await promotions.create(promotion(clock, code=code), "adm_1")
        clock.advance(1)
    await promotions.stop("SECOND", "adm_1", "over")
    page, cursor = await promotions.list_by_state(PromotionState.ACTIVE, PageRequest(1))
    rest, end = await promotions.list_by_state(PromotionState.ACTIVE, PageRequest(5, cursor))
    stopped, _ = await promotions.list_by_state(PromotionState.STOPPED, PageRequest(5))
    assert [each.code for each in page + rest] == ["THIRD", "FIRST"]
    assert end is None
    assert [each.code for each in stopped] == ["SECOND"]


async def test_view_has_the_budget_that_is_left(promotions: Promotions, clock: ManualClock):
    """Operators see the status and the rest of the budget, without empty fields."""
    view = await promotions.create(promotion(clock), "adm_1")
    assert (view["status"], view["left"]) == ("ACTIVE", 50_000)
    assert "cap" not in view
