"""Money: payments, payouts, settlement, corrections, and the ledger monitor."""
