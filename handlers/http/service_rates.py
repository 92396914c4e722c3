"""Service rate endpoints: which services are enabled and what they cost."""

from dataclasses import dataclass
from typing import NotRequired, TypedDict

from aiohttp import web

from dispatch.catalogue.service_rates import WIRE_NAMES, ServiceRates, parse_service
from dispatch.errors import Refusal, Refused
from dispatch.wire.http.service_rates import ServiceSettings
from handlers.http.framework.envelope import PRINCIPAL, PUBLIC, Route, read_body
from ledger.core.money import CURRENCY
from ledger.core.pricing import Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRatesContext:
    """What the service rate endpoints use; `payment_methods` are those that orders can have."""

    service_rates: ServiceRates
    payment_methods: list[str]


SERVICE_RATES = web.AppKey("service_rates", ServiceRatesContext)


class ServiceView(TypedDict):
    """A service and its prices as customers see them; no prices while it is disabled.

    FOOD and MART have `deliveryFee` and `minOrderAmount`, PACKAGE has the others.
    Units: whole XAF, kilograms.
    """

    service: str
    orderType: str
    enabled: bool
    currency: str
    comingSoon: NotRequired[bool]
    deliveryFee: NotRequired[int]
    minOrderAmount: NotRequired[int]
    baseFee: NotRequired[int]
    feePerKm: NotRequired[int]
    fragileFee: NotRequired[int]
    maxWeightKg: NotRequired[float]


class AdminServiceView(ServiceView):
    """A service as operators see it, with the platform's share. Units: basis points."""

    commissionBps: int
    version: int


class ServicesView(TypedDict):
    """All services by their name in paths."""

    currency: str
    services: dict[str, ServiceView]
    paymentMethods: list[str]


def _service_view(rates: Rates, name: str) -> ServiceView:
    view: ServiceView = {
        "service": name,
        "orderType": rates.service,
        "enabled": rates.enabled,
        "currency": CURRENCY,
    }
    if not rates.enabled:
        return {**view, "comingSoon": True}
    if rates.service == "PACKAGE":
        return {
            **view,
            "baseFee": rates.base_fee,
            "feePerKm": rates.fee_per_km,
            "fragileFee": rates.fragile_fee,
            "maxWeightKg": rates.max_weight_kg,
        }
    return {
        **view,
        "deliveryFee": rates.delivery_fee,
        "minOrderAmount": rates.min_order_amount,
    }


async def get_config(request: web.Request) -> ServicesView:
    """All services with their prices, disabled ones marked `comingSoon`, and ways to pay."""
    context = request.app[SERVICE_RATES]
    rates = await context.service_rates.rates()
    views = {name: _service_view(rates[service], name) for name, service in WIRE_NAMES.items()}
    methods = context.payment_methods
    return {"currency": CURRENCY, "services": views, "paymentMethods": methods}


async def get_service(request: web.Request) -> ServiceView:
    """One service with its prices.

    Errors: Refused SERVICE_DISABLED, NOT_FOUND.
    """
    name = request.match_info["service"].lower()
    service = parse_service(name)
    rates = (await request.app[SERVICE_RATES].service_rates.rates())[service]
    if not rates.enabled:
        raise Refused(
            Refusal.SERVICE_DISABLED, f"{name} is not available yet", {"comingSoon": True}
        )
    return _service_view(rates, name)


async def put_service(request: web.Request) -> AdminServiceView:
    """Change a service's price list, commission, or whether it is enabled.

    Errors: Refused NOT_FOUND, MALFORMED.
    """
    name = request.match_info["service"].lower()
    service = parse_service(name)
    body = await read_body(request, ServiceSettings)
    service_rates = request.app[SERVICE_RATES].service_rates
    rates = await service_rates.put_service(service, body, request[PRINCIPAL].id)
    return {
        **_service_view(rates, name),
        "commissionBps": rates.commission_bps,
        "version": rates.version,
    }


ROUTES = (
    Route("GET", "/api/v1/config", PUBLIC, get_config),
    Route("GET", "/api/v1/config/service/{service}", PUBLIC, get_service),
    Route(
        "PUT", "/api/v1/admin/config/services/{service}", ("ADMIN",), put_service, ServiceSettings
    ),
)
