"""Transport: TCP connections, HTTP upgrades, WebSocket frames, Engine.IO sessions, send buffers."""
