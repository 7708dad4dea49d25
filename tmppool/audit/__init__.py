"""Checks of this machine's isolation: probes inside a container, and rules on engine, host, settings and limits."""
