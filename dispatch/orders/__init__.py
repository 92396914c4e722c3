"""Orders: pure transitions, offers, batch decisions, and the use cases that write them."""
