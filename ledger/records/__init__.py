"""Ledger items and their conditional writes: wallets, holds, payments, payouts, promotions."""
