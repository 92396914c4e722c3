"""Money: payments, payouts, settlement, corrections, and the ledger monitor; *_store persist."""
