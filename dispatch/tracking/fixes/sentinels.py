"""Sentinels: coordinates that stand for none, or are in the wrong places; pure."""

from dispatch.service_area import PlaceProblem, ServiceArea


def is_sentinel(lat: float, lng: float) -> bool:
    """Whether a device reports values of a form that was not filled in: a zero, or twice the same.

    No receiver measures one of them to its last digit. Units: degrees WGS 84.
    """
    return lat in (lng, 0.0) or lng == 0.0


def problem_of(lat: float, lng: float, area: ServiceArea) -> PlaceProblem | None:
    """Why a place cannot be where its device is: latitude 0, longitude 0, or exchanged axes.

    A rider may well be outside of the area. Units: degrees WGS 84.
    """
    problem = area.problem_of(lat, lng)
    return None if problem is PlaceProblem.OUTSIDE else problem
