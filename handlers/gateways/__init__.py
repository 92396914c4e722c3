"""Adapters for outside services: payouts, SMS codes, routing engines."""
