"""The demo: a server process, a city on it, and its report."""
