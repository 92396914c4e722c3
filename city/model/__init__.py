"""Models of the simulated city: streets, motion, GPS, menus, behaviour, clock and randomness."""
