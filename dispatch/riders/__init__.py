"""Riders: profiles, availability, workload, statistics, pauses after unread offers."""
