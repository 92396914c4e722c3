"""Builds the account, session, revocation and code services."""

from typing import NamedTuple

from dispatch.accounts.attempts import Attempts
from dispatch.accounts.code_budget import CodeBudget
from dispatch.accounts.codes import Codes
from dispatch.accounts.duty import Duty
from dispatch.accounts.people import People
from dispatch.accounts.revocations import Revocations
from dispatch.accounts.sign_ins import SignIns
from dispatch.accounts.standing import StandingRules
from dispatch.accounts.standing_decisions import StandingDecisions
from dispatch.accounts.store import Accounts
from dispatch.events.alerts import Alerts
from dispatch.storage.pipeline import Pipeline
from handlers.app.infrastructure import Infrastructure
from handlers.gateways.code_sender import CodeSender
from handlers.sessions.passwords import Passwords
from handlers.sessions.sign_in_codes import SignInCodes


class AuthServices(NamedTuple):
    """Accounts, their sign-ins and attempts, revoked tokens, password hashes and codes."""

    people: People
    duty: Duty
    standing_decisions: StandingDecisions
    accounts: Accounts
    sign_ins: SignIns
    revocations: Revocations
    passwords: Passwords
    attempts: Attempts
    sign_in_codes: SignInCodes


def build_auth_services(infrastructure: Infrastructure) -> AuthServices:
    """The services as the settings configure them."""
    settings, clock = infrastructure.settings, infrastructure.clock
    table, redis = infrastructure.table, infrastructure.redis
    scripts = infrastructure.scripts
    pipeline, alerts = Pipeline(redis.commands, scripts), Alerts(redis, scripts)
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
        attempts=Attempts(table, clock),
        sign_in_codes=SignInCodes(
            codes=Codes(table, clock),
            budget=CodeBudget(pipeline, alerts, clock, settings.codes_per_day),
            sender=CodeSender(settings, clock),
            countries=settings.countries_with_codes,
        ),
    )
