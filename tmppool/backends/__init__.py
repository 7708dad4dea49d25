"""Backends run notebooks: siblings behind seven verbs; the core loads one by name and knows no other."""

BACKENDS = {
    "docker": "tmppool.backends.docker:DockerBackend",
    "process": "tmppool.backends.process:ProcessBackend",
    "fake": "tmppool.backends.fake:FakeBackend",
}
