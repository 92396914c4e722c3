"""Services of a server process: built once, shared by every context."""

import dataclasses

import pytest

from handlers.app.services import Services


def test_a_service_is_replaced_only_by_building_anew():
    """The contexts of sockets and endpoints hold the same objects for the life of the process."""
    fields = {field.name: field.type for field in dataclasses.fields(Services)}
    services = Services(**dict.fromkeys(fields))  # type: ignore[arg-type]

    with pytest.raises(dataclasses.FrozenInstanceError):
        services.clock = None  # type: ignore[misc,assignment]
    assert {"order_service", "fix_pipeline", "payment_service"} <= fields.keys()
