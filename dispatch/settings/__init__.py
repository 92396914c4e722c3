"""Settings: every option of the server, read from the environment and checked at start."""

from dispatch.settings.checks import JWT_SECRET_BYTES_MIN, check_stores
from dispatch.settings.model import (
    Approval,
    Registration,
    Role,
    Secret,
    Settings,
    SettingsError,
)
from dispatch.settings.reading import DEV_DRAIN_SPREAD_S, read

__all__ = [
    "DEV_DRAIN_SPREAD_S",
    "JWT_SECRET_BYTES_MIN",
    "Approval",
    "Registration",
    "Role",
    "Secret",
    "Settings",
    "SettingsError",
    "check_stores",
    "read",
]
