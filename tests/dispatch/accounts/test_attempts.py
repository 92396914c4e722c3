"""Sign-in attempts: guesses are bounded, and never refuse the owner of a known network."""

import asyncio

import pytest

from dispatch.accounts.attempts import (
    FAILURES_MAX,
    KNOWN_MS,
    LOCKOUT_MS,
    UNKNOWN_NETWORKS_BURST,
    UNKNOWN_NETWORKS_EVERY_MS,
    Attempts,
)
from dispatch.accounts.store import Login
from dispatch.clock import ManualClock
from ledger.dynamodb.client import DynamoTable

LOGIN = Login("USER", "+237670000001")
HOME, OFFICE, ATTACKER = "home", "office", "attacker"
DAY_MS = 86_400_000


@pytest.fixture
def attempts(table: DynamoTable, clock: ManualClock) -> Attempts:
    return Attempts(table, clock)


async def wait_ms(attempts: Attempts, source: str, login: Login = LOGIN) -> int:
    return (await attempts.begin(login, "by_password", source)).wait_ms


async def sign_in(attempts: Attempts, source: str, *, is_owner: bool = True) -> int:
    attempt = await attempts.begin(LOGIN, "by_password", source)
    if not attempt.wait_ms:
        await attempts.succeed(attempt, is_owner=is_owner)
    return attempt.wait_ms


async def guess_all(attempts: Attempts, sources: list[str]) -> int:
    """Guess from each source until it has to wait; how many guesses were checked."""
    checked = 0
    for source in sources:
        while not await wait_ms(attempts, source):
            checked += 1
    return checked


async def test_a_network_has_five_failures(attempts: Attempts, clock: ManualClock):
    """Of many concurrent attempts five are checked; the others get the time left of the lock."""
    waits = await asyncio.gather(*(wait_ms(attempts, HOME) for _ in range(20)))
    assert sorted(waits) == [0] * FAILURES_MAX + [LOCKOUT_MS] * (20 - FAILURES_MAX)
    clock.advance(60_000)
    assert await wait_ms(attempts, HOME) == LOCKOUT_MS - 60_000
    clock.advance(LOCKOUT_MS - 60_000)
    waits = await asyncio.gather(*(wait_ms(attempts, HOME) for _ in range(10)))
    assert waits.count(0) == FAILURES_MAX


async def test_methods_and_roles_are_counted_apart(attempts: Attempts):
    """Failures of a password do not lock codes, and those of a rider not the customer."""
    assert await guess_all(attempts, [ATTACKER]) == FAILURES_MAX
    assert (await attempts.begin(LOGIN, "by_code", ATTACKER)).wait_ms == 0
    assert await wait_ms(attempts, ATTACKER, Login("RIDER", LOGIN.phone)) == 0


ATTACKS = {
    "one address": [ATTACKER],
    "nine addresses": [f"attacker-{number}" for number in range(9)],
    "a thousand addresses": [f"attacker-{number}" for number in range(1_000)],
}


@pytest.mark.parametrize("sources", ATTACKS.values(), ids=ATTACKS)
async def test_the_owner_signs_in_during_an_attack(
    attempts: Attempts, clock: ManualClock, sources: list[str]
):
    """From a known network always; from a new one while unknown networks have guesses left."""
    assert await sign_in(attempts, HOME) == 0
    for _ in range(5):
        await guess_all(attempts, sources[:20])
        assert await sign_in(attempts, HOME) == 0
        clock.advance(60_000)
    is_spent = len(sources) * FAILURES_MAX >= UNKNOWN_NETWORKS_BURST
    assert (await wait_ms(attempts, OFFICE) > 0) == is_spent


async def test_a_new_network_waits_a_quarter_of_an_hour_at_most(
    attempts: Attempts, clock: ManualClock
):
    """After unknown networks have used up their guesses, one comes back at each interval."""
    sources = [f"attacker-{number}" for number in range(20)]
    assert await guess_all(attempts, sources) == UNKNOWN_NETWORKS_BURST
    assert await wait_ms(attempts, OFFICE) == UNKNOWN_NETWORKS_EVERY_MS
    clock.advance(UNKNOWN_NETWORKS_EVERY_MS - 1)
    assert await wait_ms(attempts, "office-2") == 1
    clock.advance(1)
    assert await sign_in(attempts, "office-3") == 0


async def test_guesses_of_unknown_networks_are_bounded(attempts: Attempts, clock: ManualClock):
    """However many addresses they have: 50 at once and 96 a day."""
    checked, tries_per_round = 0, 12
    for at in range(0, DAY_MS, UNKNOWN_NETWORKS_EVERY_MS):
        sources = [f"attacker-{at}-{number}" for number in range(tries_per_round)]
        checked += await guess_all(attempts, sources)
        clock.advance(UNKNOWN_NETWORKS_EVERY_MS)
    assert checked <= UNKNOWN_NETWORKS_BURST + DAY_MS // UNKNOWN_NETWORKS_EVERY_MS


async def test_strangers_at_once_are_counted(attempts: Attempts):
    """Of a hundred concurrent attempts from a hundred networks fifty are checked."""
    waits = await asyncio.gather(*(wait_ms(attempts, f"attacker-{n}") for n in range(100)))
    assert waits.count(0) == UNKNOWN_NETWORKS_BURST


async def test_right_attempts_of_strangers_are_not_counted(attempts: Attempts):
    """A hundred sign-ins from new networks leave the guesses of unknown networks as they were."""
    for number in range(100):
        assert await sign_in(attempts, f"network-{number}", is_owner=False) == 0
    sources = [f"attacker-{number}" for number in range(20)]
    assert await guess_all(attempts, sources) == UNKNOWN_NETWORKS_BURST


async def test_success_forgets_the_failures_of_its_network(attempts: Attempts):
    """Four failures before each success never lock."""
    for _ in range(3):
        for _ in range(FAILURES_MAX - 1):
            assert await wait_ms(attempts, HOME) == 0
        assert await sign_in(attempts, HOME) == 0


async def test_only_the_owner_makes_a_network_known(attempts: Attempts, clock: ManualClock):
    """Registering another's phone makes no network known; a known one is forgotten later."""
    await sign_in(attempts, ATTACKER, is_owner=False)
    await sign_in(attempts, HOME)
    assert not await attempts.is_known(LOGIN, ATTACKER)
    assert await attempts.is_known(LOGIN, HOME)
    assert not await attempts.is_known(Login("RIDER", LOGIN.phone), HOME)
    clock.advance(KNOWN_MS)
    assert not await attempts.is_known(LOGIN, HOME)
