"""Builds the account, session, revocation and code services."""

from typing import NamedTuple

from dispatch.accounts.revocations import Revocations
from dispatch.accounts.sign_ins import SignIns
from dispatch.accounts.store import Accounts
from dispatch.clock import Clock
from dispatch.settings import Settings
from dispatch.storage.redis_client import RedisClients
from handlers.gateways.code_sender import CodeSender
from handlers.sessions.passwords import Passwords
from ledger.dynamodb.table import Table


class AuthServices(NamedTuple):
    """Accounts, their sign-ins, revoked tokens, password hashes and one-time codes."""

    accounts: Accounts
    sign_ins: SignIns
    revocations: Revocations
    passwords: Passwords
    code_sender: CodeSender


def build_auth_services(
    table: Table, redis: RedisClients, settings: Settings, clock: Clock
) -> AuthServices:
    """The services as the settings configure them."""
    return AuthServices(
        accounts=Accounts(table, clock),
        sign_ins=SignIns(table, clock),
        revocations=Revocations(table, redis, clock),
        passwords=Passwords(),
        code_sender=CodeSender(settings, clock),
    )
