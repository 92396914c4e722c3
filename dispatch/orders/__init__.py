"""An order's way: a pure machine, pure offer rounds, and the steps that write."""
