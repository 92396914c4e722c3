"""What the checks of fixes are made of: limits, a phone's clock, places that are none; pure."""
