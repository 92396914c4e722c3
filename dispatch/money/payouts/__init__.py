"""Payouts: requests, decisions, submission to a provider, reports, and their store."""
