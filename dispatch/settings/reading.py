"""Reads the settings from environment variables."""

import difflib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import msgspec

from dispatch.settings.checks import JWT_SECRET_BYTES_MIN, check, check_dev
from dispatch.settings.model import Settings, SettingsError

# The default of `drain_spread_s` under --dev, so that Ctrl-C ends the server at once.
DEV_DRAIN_SPREAD_S = 0.5

# Settings whose value is a comma-separated list.
_LISTS = frozenset(
    {
        "allowed_origins",
        "code_countries",
        "jwt_keys",
        "trusted_proxies",
        "code_url_secret",
        "payment_webhook_secrets",
        "payout_url_secret",
        "payout_webhook_secrets",
    }
)


# Variables with which --dev is not for a network.
_CREDENTIALS = ("JWT_SECRET", "JWT_KEYS", "AWS_ACCESS_KEY_ID")
# Names of these and of our settings differ, but not by much.
_FOREIGN_NAMES = frozenset({"HOSTNAME", "LOGNAME"})
# Variables this much like a setting's name are taken for a typing error. Source: chosen; one letter
# more, less or other in a name of nine is 0.88 or above.
_SIMILARITY_MIN = 0.88


def read(environ: Mapping[str, str], *, dev: bool = False) -> Settings:
    """Read the settings from an environment.

    Errors: SettingsError names the variable and what is wrong with it.
    """
    names = {field.encode_name for field in msgspec.structs.fields(Settings)} - {"dev"}
    _check_names(environ, {name.upper() for name in names})
    given: dict[str, object] = {
        name: environ[name.upper()] for name in names if environ.get(name.upper())
    }
    for name in _LISTS & given.keys():
        given[name] = [part.strip() for part in str(given[name]).split(",") if part.strip()]
    if dev:
        given.setdefault("drain_spread_s", DEV_DRAIN_SPREAD_S)
        given.setdefault("embedded", "on")
        given.setdefault("metrics_port", 0)
        # On a laptop every role can be tried out; vendors and riders still wait for approval.
        given.setdefault("accounts", "all")
    if dev and "jwt_secret" not in given:
        given["jwt_secret"] = secrets.token_urlsafe(JWT_SECRET_BYTES_MIN)
    try:
        settings = msgspec.convert({**given, "dev": dev}, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise SettingsError(_name_variable(str(error))) from error
    check(settings)
    _check_credentials(environ, settings)
    if dev:
        check_dev(settings, [name for name in _CREDENTIALS if environ.get(name)])
    return settings


def _check_names(environ: Mapping[str, str], names: set[str]) -> None:
    """Refuse a variable that is a setting's name with a typing error."""
    for given in sorted(environ.keys() - names - _FOREIGN_NAMES):
        similar = difflib.get_close_matches(given, names, n=1, cutoff=_SIMILARITY_MIN)
        if similar:
            raise SettingsError(f"{given} is not a setting: rename it to {similar[0]}, or unset it")


def _check_credentials(environ: Mapping[str, str], settings: Settings) -> None:
    """Refuse half a pair of AWS keys, with which every call would fail."""
    if settings.embeds_dynamodb:
        return
    pair = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    missing = [name for name in pair if not environ.get(name)]
    if len(missing) == 1:
        raise SettingsError(f"{missing[0]} is not set, but the other AWS key is: set both or none")


def _name_variable(message: str) -> str:
    """A message of msgspec about a field, with the environment variable in the field's place."""
    what, _, field = message.rpartition(" - at `$.")
    name = field.rstrip("`")
    if not what:
        return message
    kind = get_type_hints(Settings).get(name)
    choices = f"; one of {', '.join(get_args(kind))}" if get_origin(kind) is Literal else ""
    return f"{name.upper()}: {what}{choices}"


def _decode(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)
