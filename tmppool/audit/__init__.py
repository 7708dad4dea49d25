"""Does what is promised hold on this machine: probes from inside a container, and checks of engine, host and limits."""
