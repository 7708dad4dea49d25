"""Backends run notebooks: siblings behind one protocol, ``base.Backend``; the core knows none of them by name."""

BACKENDS = {
    "docker": "tmppool.backends.docker:DockerBackend",
    "process": "tmppool.backends.process:ProcessBackend",
    "fake": "tmppool.backends.fake:FakeBackend",
}
