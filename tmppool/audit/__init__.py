"""The checks that this machine holds what is promised: probes inside a container, rules on engine, host and limits."""
