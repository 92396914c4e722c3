"""Catalogue: vendors and their items, service rates, promotions."""
