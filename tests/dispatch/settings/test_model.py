"""Settings: what follows from them for keys, roles and embedded engines."""

from dispatch.settings import JWT_SECRET_BYTES_MIN, Settings, read

SECRET = "s" * JWT_SECRET_BYTES_MIN


def read_with(**environ: str) -> Settings:
    return read({"JWT_SECRET": SECRET, **environ})


def test_keys_of_a_rotation_replace_the_secret():
    """With JWT_KEYS no JWT_SECRET is required; the keys keep their order."""
    settings = read({"JWT_KEYS": f"new:{SECRET}1,old:{SECRET}2"})
    assert settings.keys_by_id == {"new": f"{SECRET}1", "old": f"{SECRET}2"}
    assert list(settings.keys_by_id) == ["new", "old"]


def test_role_decides_what_a_process_does():
    """An edge serves sockets, an engine sweeps, and `all` does both."""
    stores = {"REDIS_URL": "redis://r", "DYNAMODB_ENDPOINT": "http://d"}
    duties = {
        role: (settings.has_sockets, settings.has_engine)
        for role in ("all", "edge", "engine")
        for settings in [read_with(ROLE=role, **stores)]
    }
    assert duties == {"all": (True, True), "edge": (True, False), "engine": (False, True)}


def test_the_service_area_is_douala_unless_another_is_named():
    """The default holds Douala alone; `off` serves every place, and must be said."""
    by_default, paris = read_with().area, read_with(SERVICE_AREA="48.8566,2.3522,20").area
    assert (by_default.contains(4.05, 9.7), by_default.contains(48.86, 2.35)) == (True, False)
    assert (paris.contains(4.05, 9.7), paris.contains(48.86, 2.35)) == (False, True)
    assert read_with(SERVICE_AREA="off").area.circles == ()


def test_engines_are_embedded_on_request():
    """Only --dev and EMBEDDED=on start engines, each for a store that no setting names."""
    redis, dynamodb = {"REDIS_URL": "redis://r"}, {"DYNAMODB_ENDPOINT": "http://d"}
    cases = [
        ({}, False, (False, False)),
        ({"EMBEDDED": "on"}, False, (True, True)),
        ({"EMBEDDED": "on", **redis}, False, (False, True)),
        ({"EMBEDDED": "on", **dynamodb}, False, (True, False)),
        ({}, True, (True, True)),
        (redis, True, (False, True)),
        (dynamodb, True, (True, False)),
        ({"EMBEDDED": "off", **redis}, True, (False, False)),
        ({"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}, True, (True, True)),
    ]
    for environ, dev, expected in cases:
        settings = read({"JWT_SECRET": SECRET, **environ}, dev=dev)
        assert (settings.embeds_redis, settings.embeds_dynamodb) == expected, environ
