"""The operator: opens the services that are off by default, and reads the books."""

import asyncio
from dataclasses import dataclass
from typing import Any

from city.client.http_client import Api
from city.model.city import City

# Source: wire contract, new installations start with mart and packages off.
SERVICES_TO_OPEN = ("mart", "packages")
ADMIN_ID = "adm_city"
# A read of all balances while the last settlements are being written may tear; look again.
READS_MAX, READ_PAUSE_S = 5, 0.15


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """The ledger as the server reports it. Units: whole XAF."""

    total: int
    accounts: int
    entries: int


@dataclass(slots=True)
class Admin:
    """The operator's app."""

    api: Api

    async def open_services(self) -> None:
        """Switch on MART and PACKAGE.

        Errors: ApiRefused.
        """
        for name in SERVICES_TO_OPEN:
            await self.api.put(f"/admin/config/services/{name}", {"enabled": True})

    async def read_trial_balance(self) -> TrialBalance:
        """The trial balance, once it stands still or after some looks.

        Errors: ApiRefused.
        """
        books = _trial_balance(await self.api.get("/admin/ledger/trial-balance"))
        for _ in range(READS_MAX - 1):
            if books.total == 0:
                break
            await asyncio.sleep(READ_PAUSE_S)
            books = _trial_balance(await self.api.get("/admin/ledger/trial-balance"))
        return books


def make_admin(city: City) -> Admin:
    """An operator of this city."""
    return Admin(city.api("ADMIN", ADMIN_ID))


def _trial_balance(data: dict[str, Any]) -> TrialBalance:
    return TrialBalance(int(data["total"]), len(data["accounts"]), int(data["entries"]))
