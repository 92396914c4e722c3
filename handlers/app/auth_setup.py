"""Builds the account, session, revocation and code services."""

from typing import NamedTuple

from dispatch.accounts.duty import Duty
from dispatch.accounts.people import People
from dispatch.accounts.revocations import Revocations
from dispatch.accounts.sign_ins import SignIns
from dispatch.accounts.standing import StandingRules
from dispatch.accounts.standing_decisions import StandingDecisions
from dispatch.accounts.store import Accounts
from dispatch.clock import Clock
from dispatch.settings import Settings
from dispatch.storage.redis_client import RedisClients
from handlers.gateways.code_sender import CodeSender
from handlers.sessions.passwords import Passwords
from ledger.dynamodb.table import Table


class AuthServices(NamedTuple):
    """Accounts, their sign-ins, revoked tokens, password hashes and one-time codes."""

    people: People
    duty: Duty
    standing_decisions: StandingDecisions
    accounts: Accounts
    sign_ins: SignIns
    revocations: Revocations
    passwords: Passwords
    code_sender: CodeSender


def build_auth_services(
    table: Table, redis: RedisClients, settings: Settings, clock: Clock
) -> AuthServices:
    """The services as the settings configure them."""
    rules = StandingRules(settings.require_approval)
    people = People(table, rules)
    revocations = Revocations(table, redis, clock)
    return AuthServices(
        people=people,
        duty=Duty(table, rules, clock),
        standing_decisions=StandingDecisions(table, people, revocations, clock),
        accounts=Accounts(table, clock, rules),
        sign_ins=SignIns(table, clock, rules),
        revocations=revocations,
        passwords=Passwords(),
        code_sender=CodeSender(settings, clock),
    )
