"""Placing an order: basket, draft and quote."""
