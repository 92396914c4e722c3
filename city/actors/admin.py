"""The operator of the simulated city: enables services, reads the ledger's trial balance."""

import asyncio
from dataclasses import dataclass
from typing import Any

from city.actors.city import City
from city.client.http_client import Api

# Source: docs/contract.md, new installations start with mart and packages off.
SERVICES_TO_OPEN = ("mart", "packages")
ADMIN_ID = "adm_city"
# All balances are not read at one moment: while settlements are written the sum may be off.
READS_MAX, READ_PAUSE_S = 5, 0.15


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """The ledger's trial balance as the server reports it. Units: whole XAF."""

    total: int
    accounts: int
    entries: int


@dataclass(slots=True)
class Admin:
    """The operator's app."""

    api: Api

    async def open_services(self) -> None:
        """Enable MART and PACKAGE.

        Errors: ApiRefused.
        """
        for name in SERVICES_TO_OPEN:
            await self.api.put(f"/admin/config/services/{name}", {"enabled": True})

    async def read_trial_balance(self) -> TrialBalance:
        """Read the trial balance until it is zero, at most READS_MAX times. Units: whole XAF.

        Errors: ApiRefused.
        """
        balance = _trial_balance(await self.api.get("/admin/ledger/trial-balance"))
        for _ in range(READS_MAX - 1):
            if balance.total == 0:
                break
            await asyncio.sleep(READ_PAUSE_S)
            balance = _trial_balance(await self.api.get("/admin/ledger/trial-balance"))
        return balance


def make_admin(city: City) -> Admin:
    """An operator of this city."""
    return Admin(city.api("ADMIN", ADMIN_ID))


def _trial_balance(data: dict[str, Any]) -> TrialBalance:
    return TrialBalance(int(data["total"]), len(data["accounts"]), int(data["entries"]))
