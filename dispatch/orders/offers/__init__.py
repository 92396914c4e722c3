"""Offers: which riders are asked, in which waves, and what becomes of each offer."""
