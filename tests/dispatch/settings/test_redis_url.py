"""Redis URLs: what each form means, and one line for each mistake."""

import pytest

from dispatch.settings import SettingsError, read
from dispatch.settings.redis_url import RedisMode, RedisUrl, parse_redis_url

ONE, CLUSTER, SENTINEL = RedisMode.ONE_SERVER, RedisMode.CLUSTER, RedisMode.SENTINEL
THREE = [("a", 1), ("b", 26379), ("c", 3)]


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("redis://h", RedisUrl(ONE, "redis://h:6379/", [("h", 6379)])),
        ("redis://h:1/2", RedisUrl(ONE, "redis://h:1/2", [("h", 1)])),
        ("REDISS://:p%40@h:1", RedisUrl(ONE, "rediss://:p%40@h:1/", [("h", 1)])),
        ("redis://u:p@[::1]:7", RedisUrl(ONE, "redis://u:p@[::1]:7/", [("::1", 7)])),
        ("redis://u:p@w@h", RedisUrl(ONE, "redis://u:p@w@h:6379/", [("h", 6379)])),
        ("unix:///run/redis.sock", RedisUrl(ONE, "unix:///run/redis.sock")),
        ("redis+cluster://h:7000", RedisUrl(CLUSTER, "redis://h:7000/", [("h", 7000)])),
        ("rediss+cluster://u:p@h/0", RedisUrl(CLUSTER, "rediss://u:p@h:6379/0", [("h", 6379)])),
        ("redis+sentinel://a:1,b,c:3/main", RedisUrl(SENTINEL, "redis://a:1/", THREE, "main")),
        (
            "rediss+sentinel://u:p@a:1/my%20main/4?sentinel_password=s&ssl_ca_certs=/ca.pem",
            RedisUrl(
                SENTINEL, "rediss://u:p@a:1/4?ssl_ca_certs=%2Fca.pem", [("a", 1)], "my main",
                None, "s",
            ),
        ),
    ],
)  # fmt: skip
def test_each_form_is_taken_apart(url: str, parsed: RedisUrl):
    """Scheme, addresses, service, credentials and database are found in every form."""
    assert parse_redis_url(url) == parsed


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:6379", "it has no scheme; use redis://"),
        ("localhost", "it has no scheme; use redis://"),
        ("http://h:6379", "http:// is not a scheme of Redis; use redis://"),
        ("sentinel://h/main", "sentinel:// is not a scheme of Redis"),
        ("redis+sentinal://h/main", "redis+sentinal:// is not a scheme of Redis"),
        ("redis://", "host:port"),
        ("redis://:6379", "host:port"),
        ("redis://h:70000", "host:port"),
        ("redis://h:0", "host:port"),
        ("redis://h:port", "host:port"),
        ("redis://h h:1", "host:port"),
        ("redis://u:secret/1@h:1", "write / as %2F"),
        ("redis://a:1,b:2", "only redis+sentinel://"),
        ("redis+cluster://a:1,b:2", "only redis+sentinel://"),
        ("redis://h/zero", "database must be a number"),
        ("redis+cluster://h/1", "no database but 0"),
        ("redis+sentinel://a:1,b:2", "needs the name of the service"),
        ("redis+sentinel://a:1/main/one", "database must be a number"),
        ("redis+sentinel://a:1,/main", "host:port"),
        ("unix://redis.sock", "path of a socket"),
        ("redis://h?socket_timeout=60", "after ? only"),
        ("redis://h?sentinel_password=secret", "after ? only"),
    ],
)
def test_a_mistake_is_named_in_one_line(url: str, message: str):
    """Reading the settings refuses the URL with the variable, what is wrong, and no password."""
    with pytest.raises(SettingsError) as refused:
        read({"REDIS_URL": url}, dev=True)

    assert str(refused.value).startswith("REDIS_URL: ")
    assert message in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
