"""The demo: a server process, a city that uses it, and its report."""
