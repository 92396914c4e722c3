"""Posting facts: the commit path, its transactions, locks and group commit."""
