"""Peer errors: what an error of Redis says about the server that sent it or did not answer."""

import re
from enum import StrEnum

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError,  # noqa: A004 (redis has no other name for it)
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TimeoutError,  # noqa: A004 (redis has no other name for it)
    TryAgainError,
)


class PeerFault(StrEnum):
    """What is wrong with a server; the stores raise StoreUnavailable for each of them."""

    # It does not take this node's writes, another one may: every connection to it is dropped, so
    # that the next use resolves the address again.
    WRONG_PEER = "wrong_peer"
    # The connection broke, or no answer came in time. The heartbeat tells whether all of them did.
    LOST = "lost"
    # Another server of the cluster holds the key.
    MOVED = "moved"
    # The right server, which cannot or may not carry out this command now.
    REFUSED = "refused"


# Error codes of replies: the exception that stands for each, and what it says.
# Source: valkey-9.1 src/server.c (shared error objects), src/cluster.c, src/blocked.c.
_BY_CODE: dict[str, tuple[type[Exception], PeerFault | None]] = {
    # A replica: this server was demoted, or the address leads to another one.
    "READONLY": (ReadOnlyError, PeerFault.WRONG_PEER),
    # It starts or has lost its primary, and serves nothing.
    "LOADING": (BusyLoadingError, PeerFault.WRONG_PEER),
    "MASTERDOWN": (MasterDownError, PeerFault.WRONG_PEER),
    "CLUSTERDOWN": (ClusterDownError, PeerFault.WRONG_PEER),
    # It was demoted while a blocking command waited.
    "UNBLOCKED": (ResponseError, PeerFault.WRONG_PEER),
    # It has lost its replicas, so another one may have been promoted; or it cannot write its disk.
    "NOREPLICAS": (ResponseError, PeerFault.WRONG_PEER),
    "MISCONF": (ResponseError, PeerFault.WRONG_PEER),
    # Another server with other users, or a changed password: what was open under the old one ends.
    "NOAUTH": (AuthenticationError, PeerFault.WRONG_PEER),
    "WRONGPASS": (AuthenticationError, PeerFault.WRONG_PEER),
    "MOVED": (MovedError, PeerFault.MOVED),
    "ASK": (AskError, PeerFault.REFUSED),
    "TRYAGAIN": (TryAgainError, PeerFault.REFUSED),
    "OOM": (OutOfMemoryError, PeerFault.REFUSED),
    "BUSY": (ResponseError, PeerFault.REFUSED),
    # A new connection would have the same rights.
    "NOPERM": (NoPermissionError, PeerFault.REFUSED),
    "NOSCRIPT": (NoScriptError, None),
}
# What a server says when it accepts no further connection, and closes this one.
_TOO_MANY_CLIENTS = "ERR max number of clients reached"
# How a script of an older server passes on the error of a call.
_IN_SCRIPT = re.compile(r"-(READONLY|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|MISCONF|OOM) ")
# Errors of the library itself, by class; a subclass stands before its base.
_BY_CLASS: tuple[tuple[type[Exception], PeerFault], ...] = (
    (AuthenticationError, PeerFault.WRONG_PEER),
    (ConnectionError, PeerFault.LOST),
    (TimeoutError, PeerFault.LOST),
    # No server of a cluster answers, or none holds a slot. Also raised for keys of several slots, a
    # bug that the stores' tests on a cluster would show.
    (ClusterError, PeerFault.REFUSED),
    (RedisClusterException, PeerFault.REFUSED),
)


def fault_of(error: BaseException) -> PeerFault | None:
    """What an error says about its server; None for the error of a wrong call, a bug."""
    for each, (kind, fault) in _BY_CODE.items():
        if isinstance(error, kind) and (kind is not ResponseError or _code_of(error) == each):
            return fault
    for base, fault in _BY_CLASS:
        if isinstance(error, base):
            return fault
    if isinstance(error, ResponseError) and (inner := _IN_SCRIPT.search(str(error))):
        return _BY_CODE[inner[1]][1]
    return None


def _code_of(error: BaseException) -> str:
    return str(error).partition(" ")[0]


def error_of_reply(text: str) -> Exception:
    """The exception that stands for an error reply, of the class that the library raises."""
    if text.startswith(_TOO_MANY_CLIENTS):
        return ConnectionError(text)
    code, _, message = text.partition(" ")
    kind, _fault = _BY_CODE.get(code, (ResponseError, None))
    # The code tells apart those without a class of their own.
    return kind(text if kind is ResponseError else message)
