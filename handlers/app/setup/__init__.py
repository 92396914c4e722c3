"""Setup: builds the parts of a server as the settings configure them, one module for each."""
