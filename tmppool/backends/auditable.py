"""The interface that a container backend offers to the audit, in addition to ``base.Backend``."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from tmppool.backends import engine
from tmppool.backends.base import ImageFacts, Spec


class Auditable(ABC):
    """A backend whose notebooks are containers of an engine, so that their isolation can be inspected and tested.

    All members are valid from ``open`` to ``close``. A backend that does not inherit from this is not audited.
    """

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """The pool's specification, with the network mode that ``open`` chose."""

    @property
    @abstractmethod
    def image(self) -> ImageFacts:
        """The facts about the pool's image."""

    @property
    @abstractmethod
    def docker(self) -> engine.Client:
        """The client of the engine on which the notebooks run; the caller must not close it."""

    @abstractmethod
    def trial_config(self, name: str, command: Sequence[str]) -> dict[str, Any]:
        """Return the ContainerCreate body for a notebook's container with another command and other labels.

        ``command`` is passed to the image's entrypoint. The labels name the service, but do not make it a notebook.
        """
