"""Order service: every use case of orders in one object, for handlers and background tasks."""

from dispatch.orders.use_cases.closing import ClosingUseCases
from dispatch.orders.use_cases.delivery import DeliveryUseCases
from dispatch.orders.use_cases.offers import OfferUseCases
from dispatch.orders.use_cases.payment import PaymentUseCases
from dispatch.orders.use_cases.placing import PlacingUseCases
from dispatch.orders.use_cases.vendor import VendorUseCases


class OrderService(
    PlacingUseCases,
    PaymentUseCases,
    VendorUseCases,
    OfferUseCases,
    DeliveryUseCases,
    ClosingUseCases,
):
    """The use cases together; a caller that needs one subject may take its class alone."""
