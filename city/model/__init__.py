"""The simulated city: streets, motion, GPS, menus, clock and randomness."""
