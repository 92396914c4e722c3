"""Order transitions, pure: the state machine and what each command does to an order."""
