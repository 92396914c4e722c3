"""Gateways: adapters for outside services (sign-in codes, payouts, routing engines)."""
