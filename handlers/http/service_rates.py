"""Which services there are and what they cost, without what the platform keeps of it."""

from typing import Any

from aiohttp import web

from dispatch.catalogue.service_rates import WIRE_NAMES, parse_service
from dispatch.errors import Refusal, Refused
from dispatch.wire.http.service_rates import ServiceSettings
from handlers.app.contexts import DESK
from handlers.http.framework.envelope import PRINCIPAL, PUBLIC, Route, read_body
from ledger.core.money import CURRENCY
from ledger.core.pricing import Rates


def rates_view(rates: Rates, name: str) -> dict[str, Any]:
    """A price list as customers see it."""
    view: dict[str, Any] = {
        "service": name,
        "orderType": rates.service,
        "enabled": rates.enabled,
        "currency": CURRENCY,
    }
    if not rates.enabled:
        return {**view, "comingSoon": True}
    if rates.service == "PACKAGE":
        fees: dict[str, Any] = {
            "baseFee": rates.base_fee,
            "feePerKm": rates.fee_per_km,
            "fragileFee": rates.fragile_fee,
            "maxWeightKg": rates.max_weight_kg,
        }
    else:
        fees = {"deliveryFee": rates.delivery_fee, "minOrderAmount": rates.min_order_amount}
    return {**view, **fees}


async def get_config(request: web.Request) -> Any:
    """All services; those that are off say so."""
    rates = await request.app[DESK].service_rates.rates()
    views = {name: rates_view(rates[service], name) for name, service in WIRE_NAMES.items()}
    return {"currency": CURRENCY, "services": views}


async def get_service(request: web.Request) -> Any:
    """One service.

    Errors: Refused SERVICE_DISABLED where it is off.
    """
    name = request.match_info["service"].lower()
    service = parse_service(name)
    rates = (await request.app[DESK].service_rates.rates())[service]
    if not rates.enabled:
        raise Refused(
            Refusal.SERVICE_DISABLED, f"{name} is not available yet", {"comingSoon": True}
        )
    return rates_view(rates, name)


async def put_service(request: web.Request) -> Any:
    """Change a service's price list, as an operator, who sees all of it."""
    name = request.match_info["service"].lower()
    service = parse_service(name)
    body = await read_body(request, ServiceSettings)
    desk = request.app[DESK]
    rates = await desk.service_rates.put_service(service, body, request[PRINCIPAL].id)
    fees = {**rates_view(rates, name), "commissionBps": rates.commission_bps}
    return {**fees, "version": rates.version}


ROUTES = (
    Route("GET", "/api/v1/config", PUBLIC, get_config),
    Route("GET", "/api/v1/config/service/{service}", PUBLIC, get_service),
    Route(
        "PUT",
        "/api/v1/admin/config/services/{service}",
        ("ADMIN",),
        put_service,
        ServiceSettings,
    ),
)
