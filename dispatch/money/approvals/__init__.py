"""Approvals: operators' acts that another person must agree to, frozen until it does."""
