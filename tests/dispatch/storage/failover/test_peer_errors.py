"""Peer errors: what each reply and each error of the library says about its server."""

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import (
    ClusterError,
    ConnectionError,  # noqa: A004 (redis has no other name for it)
    MaxConnectionsError,
    RedisClusterException,
    SlotNotCoveredError,
    TimeoutError,  # noqa: A004 (redis has no other name for it)
)

from dispatch.errors import StoreUnavailable
from dispatch.storage.failover.peer_errors import PeerFault, error_of_reply, fault_of
from dispatch.storage.redis_client import translate_redis_errors

WRONG_PEER, LOST, MOVED, REFUSED = PeerFault

# Source: the texts of Valkey 9.1 and, for the script, of Redis 6.
SCRIPT_ERROR = "ERR Error running script (call to f_6b1b): @user_script:3: -READONLY You can't"
REPLIES = [
    ("READONLY You can't write against a read only replica.", WRONG_PEER),
    ("READONLY You can't write. script: 6b1b, on @user_script:3.", WRONG_PEER),
    (SCRIPT_ERROR, WRONG_PEER),
    ("LOADING Valkey is loading the dataset in memory", WRONG_PEER),
    ("MASTERDOWN Link with MASTER is down.", WRONG_PEER),
    ("CLUSTERDOWN The cluster is down", WRONG_PEER),
    ("CLUSTERDOWN Hash slot not served", WRONG_PEER),
    ("UNBLOCKED force unblock, instance state changed (master -> replica?)", WRONG_PEER),
    ("NOREPLICAS Not enough good replicas to write.", WRONG_PEER),
    ("MISCONF Valkey is currently unable to persist to disk.", WRONG_PEER),
    ("NOAUTH Authentication required.", WRONG_PEER),
    ("WRONGPASS invalid username-password pair or user is disabled.", WRONG_PEER),
    ("MOVED 3999 127.0.0.1:6381", MOVED),
    ("MOVED 3999 :0", MOVED),
    ("ASK 3999 127.0.0.1:6381", REFUSED),
    ("TRYAGAIN Multiple keys request during rehashing of slot", REFUSED),
    ("OOM command not allowed when used memory > 'maxmemory'.", REFUSED),
    ("BUSY Valkey is busy running a script.", REFUSED),
    ("NOPERM User app has no permissions to run the 'info' command", REFUSED),
    ("ERR max number of clients reached", LOST),
    # Bugs, which must not pass for an outage.
    ("NOSCRIPT No matching script.", None),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", None),
    ("CROSSSLOT Keys in request don't hash to the same slot", None),
    ("ERR unknown command 'FOO'", None),
    ("ERR value is not an integer or out of range", None),
    ("ERR user_script:1: READONLY is only a word here", None),
]


@pytest.mark.parametrize(("reply", "fault"), REPLIES)
def test_a_reply_says_the_same_through_our_parser_and_the_librarys(
    reply: str, fault: PeerFault | None
):
    """Each error reply has one meaning, whichever of the two parsers has read it."""
    ours, library = error_of_reply(reply), BaseParser.parse_error(reply)

    assert fault_of(ours) == fault_of(library) == fault
    assert isinstance(ours, type(library)) or fault is None


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ConnectionError("Connection closed by server."), LOST),
        (TimeoutError("Timeout reading from 127.0.0.1:6379"), LOST),
        (MaxConnectionsError(), LOST),
        (ClusterError("TTL exhausted."), REFUSED),
        (SlotNotCoveredError("Slot 1 not covered"), REFUSED),
        (RedisClusterException("Redis Cluster cannot be connected."), REFUSED),
        (ValueError("a bug"), None),
        (RuntimeError("a bug"), None),
    ],
)
def test_an_error_of_the_library_says_what_its_class_says(
    error: Exception, fault: PeerFault | None
):
    """Lost connections, missing answers and clusters in disorder are faults; bugs are none."""
    assert fault_of(error) == fault


@pytest.mark.parametrize(("reply", "fault"), REPLIES)
def test_every_fault_is_an_unavailable_store(reply: str, fault: PeerFault | None):
    """The stores raise StoreUnavailable for each fault, and pass the error of a wrong call on."""
    error = error_of_reply(reply)
    with pytest.raises(StoreUnavailable if fault else type(error)), translate_redis_errors():
        raise error
