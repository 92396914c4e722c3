"""Accounts: sign-in, one-time codes, refresh tokens, revocations, connection counts."""
