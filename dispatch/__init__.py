"""Orders, offers, live positions: the rules, the stores they rest on, the tick."""
