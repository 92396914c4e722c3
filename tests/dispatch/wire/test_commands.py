"""Commands decode from the contract's JSON, and refuse what is not in it."""

import msgspec
import pytest

from dispatch.wire import commands

VALID: list[tuple[type[msgspec.Struct], dict[str, object]]] = [
    (commands.SubscribeOrder, {"orderId": "ord_1", "commandId": "c1"}),
    (commands.SubscribeOrder, {"orderId": "ord_1", "unknown": 1}),
    (commands.RateOrder, {"orderId": "ord_1", "rating": 5}),
    (commands.CompleteDelivery, {"orderId": "ord_1", "proof": "left with the guard"}),
    (commands.CompleteDelivery, {"orderId": "ord_1", "proof": {"kind": "PIN", "pin": "0042"}}),
    (
        commands.CompleteDelivery,
        {"orderId": "ord_1", "proof": {"kind": "PHOTO", "uploadId": "upl_1"}},
    ),
    (
        commands.CompleteDelivery,
        {"orderId": "ord_1", "proof": {"kind": "BARCODE", "code": "5 901234 123457"}},
    ),
    (commands.AcceptOrder, {"orderId": "ord_1", "prepMinutes": 20}),
    (commands.Fix, {"lat": 4.05, "lng": 9.7, "unknown": 1}),
    (commands.AcceptDelivery, {"orderId": "ord_1", "offerId": "ofr_1"}),
    (commands.WatchArea, {"bbox": {"south": 4, "west": 9, "north": 5, "east": 10}}),
    (commands.WatchArea, {"bbox": [9, 4, 10, 5]}),
]


@pytest.mark.parametrize(("struct", "payload"), VALID)
def test_a_command_of_the_contract_is_decoded(
    struct: type[msgspec.Struct], payload: dict[str, object]
):
    """Field names are camelCase; unknown fields are ignored."""
    decoded = msgspec.json.decode(msgspec.json.encode(payload), type=struct)
    assert isinstance(decoded, struct)


INVALID: list[tuple[type[msgspec.Struct], dict[str, object]]] = [
    (commands.SubscribeOrder, {}),
    (commands.SubscribeOrder, {"orderId": "ord 1"}),
    (commands.SubscribeOrder, {"orderId": "ord_1\n"}),
    (commands.SubscribeOrder, {"orderId": "o" * 65}),
    (commands.RateOrder, {"orderId": "ord_1", "rating": 6}),
    (commands.CancelOrder, {"orderId": "ord_1", "reason": "x" * 201}),
    (commands.CompleteDelivery, {"orderId": "ord_1", "proof": "x" * 501}),
    (commands.CompleteDelivery, {"orderId": "ord_1", "proof": {"kind": "OATH", "pin": "0042"}}),
    (commands.CompleteDelivery, {"orderId": "ord_1", "proof": {"pin": "0042"}}),
    (commands.CompleteDelivery, {"orderId": "ord_1", "proof": {"kind": "PIN"}}),
    (commands.CompleteDelivery, {"orderId": "ord_1", "proof": {"kind": "PIN", "pin": "12ab"}}),
    (commands.CompleteDelivery, {"orderId": "ord_1", "proof": {"kind": "PIN", "code": "1234"}}),
    (commands.CompleteDelivery, {"orderId": "ord_1", "proof": {"kind": "SIGNATURE"}}),
    (commands.CompleteDelivery, {"orderId": "ord_1", "proof": {"kind": "BARCODE", "code": ""}}),
    (commands.CompleteDelivery, {"orderId": "ord_1", "cashCollected": -1}),
    (commands.LocationBatch, {"fixes": [{"lat": 4.0, "lng": 9.0}] * 101}),
]


@pytest.mark.parametrize(("struct", "payload"), INVALID)
def test_anything_else_is_refused(struct: type[msgspec.Struct], payload: dict[str, object]):
    """Missing, too long and out of range: all of them fail to decode."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(payload), type=struct)
