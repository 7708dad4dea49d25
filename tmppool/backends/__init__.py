"""Backends run notebooks. Each implements ``base.Backend``; the core does not know any of them by name."""

import pkgutil
from dataclasses import dataclass

from tmppool.backends.base import Backend, Paths, Spec


@dataclass(frozen=True, slots=True)
class BackendKind:
    """The properties of a kind of backend that are needed before one is created.

    ``factory`` is ``module:Class``; the class has ``from_spec``. ``is_local_only``: notebooks are not isolated, so only
    this machine's user may use them, with a secret. ``ends_with_service``: by default notebooks stop with the service.
    ``on_engine``: notebooks are containers of the pool's image on an engine, where a service name has one owner.
    """

    name: str
    factory: str
    is_local_only: bool = False
    ends_with_service: bool = False
    on_engine: bool = False

    def make(self, spec: Spec, paths: Paths) -> Backend:
        """Return a backend, not yet opened. Raises ConfigError for a setting that it does not support."""
        made: Backend = pkgutil.resolve_name(self.factory).from_spec(spec, paths)
        return made

    def image_of(self, image: str) -> str:
        """Return the image that ``/api/stats`` reports for a pool with this image setting."""
        return image if self.on_engine else self.name


BACKENDS = {
    kind.name: kind
    for kind in (
        BackendKind("docker", "tmppool.backends.docker:DockerBackend", on_engine=True),
        BackendKind("process", "tmppool.backends.process:ProcessBackend", is_local_only=True, ends_with_service=True),
        BackendKind("fake", "tmppool.backends.fake:FakeBackend"),
    )
}
