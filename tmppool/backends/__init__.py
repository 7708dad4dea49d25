"""Backends run notebooks: siblings behind one protocol, ``base.Backend``; the core knows none of them by name."""

import pkgutil
from dataclasses import dataclass

from tmppool.backends.base import Backend, Paths, Spec


@dataclass(frozen=True, slots=True)
class Kind:
    """The facts about a kind of backend that the service needs before there is one.

    ``factory`` is ``module:Class``; the class has ``from_spec``. ``is_local_only``: notebooks are not isolated, so they
    are for this machine's own user alone, behind a secret. ``ends_with_service``: notebooks are stopped with the
    service unless the settings say otherwise. ``on_engine``: notebooks are containers of the pool's image on an engine,
    where a service name has one owner.
    """

    name: str
    factory: str
    is_local_only: bool = False
    ends_with_service: bool = False
    on_engine: bool = False

    def make(self, spec: Spec, paths: Paths) -> Backend:
        """Return a backend that is not open yet. Raises ConfigError for a setting that it cannot work with."""
        made: Backend = pkgutil.resolve_name(self.factory).from_spec(spec, paths)
        return made

    def image_of(self, image: str) -> str:
        """Return what a pool with this image setting runs, as ``/api/stats`` names it."""
        return image if self.on_engine else self.name


BACKENDS = {
    kind.name: kind
    for kind in (
        Kind("docker", "tmppool.backends.docker:DockerBackend", on_engine=True),
        Kind("process", "tmppool.backends.process:ProcessBackend", is_local_only=True, ends_with_service=True),
        Kind("fake", "tmppool.backends.fake:FakeBackend"),
    )
}
