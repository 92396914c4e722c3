"""Accounts and sign-ins: the services work on the given stores."""

import pytest

from handlers.app.setup.auth import build_auth_services
from tests.handlers.app.conftest import OpenInfrastructure

pytestmark = pytest.mark.engines


async def test_passwords_and_accounts_work_together(infrastructure: OpenInfrastructure):
    """A hash of the built service matches its password and no other."""
    built = infrastructure()
    auth = build_auth_services(built)
    hashed = await auth.passwords.hash("correct horse")
    assert await auth.passwords.matches(hashed, "correct horse")
    assert not await auth.passwords.matches(hashed, "wrong horse")
