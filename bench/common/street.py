"""A straight north-south street on which simulated riders drive up and down."""

# Source: IUGG mean radius R1, 6,371,008.8 m.
METRES_PER_DEGREE = 111_195.1
# A motorbike in traffic. Units: metres per second, metres.
SPEED_MPS, STREET_M = 8.0, 400.0


def latitude_on_street(start_lat: float, driven_s: float) -> float:
    """Latitude of a rider who has driven for so long from the street's southern end.

    Units: degrees, seconds.
    """
    driven_m = driven_s * SPEED_MPS % (2 * STREET_M)
    return start_lat + min(driven_m, 2 * STREET_M - driven_m) / METRES_PER_DEGREE
