"""The interface that a backend of containers offers to the audit, beside the verbs of the seam."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from tmppool.backends import engine
from tmppool.backends.base import Spec


class Auditable(ABC):
    """A backend whose notebooks are containers of an engine, so that their isolation can be looked at and tried.

    All of it is valid from ``open`` to ``close``. A backend that does not inherit from this has nothing to audit.
    """

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """The pool's specification, with the network that is really in force since ``open``."""

    @property
    @abstractmethod
    def docker(self) -> engine.Client:
        """The client of the engine on which the notebooks run; whoever uses it leaves it open."""

    @abstractmethod
    def trial_config(self, name: str, command: Sequence[str]) -> dict[str, Any]:
        """Return ContainerCreate's body for a container like a notebook's in all but its command and its labels.

        ``command`` is what the image's entrypoint is given. By its labels it belongs to the service and is no notebook.
        """
