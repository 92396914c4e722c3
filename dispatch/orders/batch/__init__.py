"""Batch matching: all open orders and free riders decided together."""
