"""Base of the stored structs: DynamoDB attributes under their wire names; places."""

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of everything stored in DynamoDB under its wire names; unknown fields are ignored."""


class Place(Record, frozen=True):
    """A point and its address as a person writes it. Units: degrees WGS 84."""

    lat: float
    lng: float
    address: str = ""
