"""Composition: builds every part once, wires them, runs the server and the command line."""
