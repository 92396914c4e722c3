"""Reads the settings from environment variables."""

import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from dispatch.settings.checks import JWT_SECRET_BYTES_MIN, check
from dispatch.settings.model import Settings, SettingsError

# The default of `drain_spread_s` under --dev, so that Ctrl-C ends the server at once.
DEV_DRAIN_SPREAD_S = 0.5

# Settings whose value is a comma-separated list.
_LISTS = frozenset({"allowed_origins", "jwt_keys", "trusted_proxies"})


def read(environ: Mapping[str, str], *, dev: bool = False) -> Settings:
    """Read the settings from an environment.

    Errors: SettingsError names the variable and what is wrong with it.
    """
    names = {field.encode_name for field in msgspec.structs.fields(Settings)} - {"dev"}
    given: dict[str, object] = {
        name: environ[name.upper()] for name in names if environ.get(name.upper())
    }
    for name in _LISTS & given.keys():
        given[name] = [part.strip() for part in str(given[name]).split(",") if part.strip()]
    if dev:
        given.setdefault("drain_spread_s", DEV_DRAIN_SPREAD_S)
    if dev and "jwt_secret" not in given:
        given["jwt_secret"] = secrets.token_urlsafe(JWT_SECRET_BYTES_MIN)
    try:
        settings = msgspec.convert({**given, "dev": dev}, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise SettingsError(_name_variable(str(error))) from error
    check(settings)
    return settings


def _name_variable(message: str) -> str:
    """A message of msgspec about a field, with the environment variable in the field's place."""
    what, _, field = message.rpartition(" - at `$.")
    return f"{field.rstrip('`').upper()}: {what}" if what else message


def _decode(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)
