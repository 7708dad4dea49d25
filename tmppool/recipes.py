"""Recipes: the source files of a notebook image, and the image's name and digest made from them.

A recipe is a directory in ``images/`` with these files:

``base``
    A POSIX shell script that creates a root file system in the (new, empty) directory ``$1``. Its environment has
    ``SUITE`` and ``MIRROR`` (empty: the script's own choice) and ``CACHE``, a directory for downloads to keep. It runs
    as root in its own mount and PID namespaces, so its mounts and processes end with it; its last line of output says
    why it failed. Its own tools are files or directories beside it whose names begin with ``mkimage``.
``Dockerfile``
    Begins with ``ARG BASE`` (optionally with a default) and ``FROM ${BASE}``. Its context is the recipe's directory,
    the directory ``common`` with the files of all images (``images/common``), and a file ``ca-bundle.crt``
    (certificates to trust while building; empty if there are none; must not stay in the image). A file that begins
    with ``#!`` is executable. Build arguments are ``PIP_INDEX_URL``, the proxies, and all others that it declares with
    ``ARG``. Images of a stage labelled ``tmppool.stage=build`` are removed after the build.

The results are two images, ``tmppool/NAME-base:HASH`` and ``tmppool/NAME:HASH`` (also ``:latest``). The hash covers all
inputs, so an image that exists is up to date.
"""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from tmppool.errors import ImageError

CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
COMMON = "common"  # the directory beside the recipes, and its name in every context
_GIVEN = ("BASE", "PIP_INDEX_URL")  # build arguments that have their own options
_ARGUMENT = re.compile(rb"^ARG +(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build; ``None`` takes the environment's value, else the recipe's."""

    mirror: str | None = None  # URL of the distribution's packages
    pip_index: str | None = None  # URL; else PIP_INDEX_URL
    ca_bundle: Path | None = None  # PEM file, used only while building; else one named by CERTIFICATES
    suite: str | None = None  # the distribution's release
    base: str | None = None  # an image on the engine to use as the base
    arguments: tuple[tuple[str, str], ...] = ()  # further build arguments: name and value
    log: Path | None = None  # else build-NAME.log in the user's cache directory
    fresh: bool = False  # rebuild even if nothing changed, to get newer packages

    def resolved(self, environ: Mapping[str, str]) -> Self:
        """Fill in defaults from ``environ``."""
        bundles = (Path(environ[key]) for key in CERTIFICATES if environ.get(key))
        return replace(
            self,
            pip_index=self.pip_index or environ.get("PIP_INDEX_URL") or None,
            ca_bundle=self.ca_bundle or next((path for path in bundles if path.is_file()), None),
        )

    def certificates(self) -> bytes:
        """Return the bundle's content, empty without one. Raises ``ImageError`` if it cannot be read."""
        try:
            return self.ca_bundle.read_bytes() if self.ca_bundle else b""
        except OSError as error:
            raise ImageError(f"the CA bundle {self.ca_bundle} cannot be read: {error.strerror}") from error


def images_dir() -> Path:
    """Return the directory of the recipes: inside an installed package, else in the checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "images"
    return inside if inside.is_dir() else package.parent / "images"


def names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(path.parent.name for path in images_dir().glob("*/Dockerfile"))


@dataclass(frozen=True)
class Recipe:
    """A recipe's files by relative POSIX path, read once."""

    name: str
    files: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, name: str) -> Self:
        """Read a recipe. Raises ``ImageError`` if there is none of that name."""
        if name not in names():
            raise ImageError(f"unknown image '{name}'; known: {', '.join(names()) or 'none'}")
        own = _read(images_dir() / name)
        # A copy made for a plain ``docker build`` may be outdated.
        own = {path: data for path, data in own.items() if not path.startswith(f"{COMMON}/")}
        shared = {f"{COMMON}/{path}": data for path, data in _read(images_dir() / COMMON).items()}
        return cls(name, {**own, **shared})

    @property
    def base_files(self) -> dict[str, bytes]:
        """The files that determine the base image."""
        return {path: data for path, data in self.files.items() if path == "base" or path.startswith("mkimage")}

    def base(self, options: BuildOptions) -> str:
        """Return the base image's full name."""
        facts = [options.suite, options.mirror, _content(self.base_files)]
        return options.base or f"tmppool/{self.name}-base:{_hash(facts)}"

    def image(self, options: BuildOptions) -> str:
        """Return the image's full name, such as ``tmppool/debian:3f2a91c0``."""
        facts = [self.base(options), options.pip_index, sorted(options.arguments), _content(self.files)]
        return f"tmppool/{self.name}:{_hash(facts)}"

    def check(self, options: BuildOptions) -> None:
        """Raise ``ImageError`` if the recipe does not declare a build argument."""
        known = {name.decode() for name in _ARGUMENT.findall(self.files["Dockerfile"])}.difference(_GIVEN)
        for name, _ in options.arguments:
            if name == "PIP_INDEX_URL":
                raise ImageError("the build argument 'PIP_INDEX_URL' is set with --pip-index")
            if name not in known:
                there = f"; there is: {', '.join(sorted(known))}" if known else ""
                raise ImageError(f"the image '{self.name}' has no build argument '{name}'{there}")

    def build_arguments(self, options: BuildOptions, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the build arguments: base, index, proxies, and those of ``options``."""
        proxies = (name for key in PROXIES for name in (key, key.lower()))
        index = {"PIP_INDEX_URL": options.pip_index} if options.pip_index else {}
        passed = {name: environ[name] for name in proxies if environ.get(name)}
        return {"BASE": self.base(options), **index, **passed, **dict(options.arguments)}

    def context(self, certificates: bytes, now: float) -> bytes:
        """Return the build context, an uncompressed tar of contents and modes, dated ``now`` (Unix time).

        Without ``certificates``, the ``ca-bundle.crt`` in the recipe's directory is used, if any.
        """
        bundle = certificates or self.files.get("ca-bundle.crt", b"")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path, data in sorted({**self.files, "ca-bundle.crt": bundle}.items()):
                entry = tarfile.TarInfo(path)
                entry.size, entry.mtime = len(data), now
                entry.mode = 0o755 if data.startswith(b"#!") else 0o644
                tar.addfile(entry, io.BytesIO(data))
        return packed.getvalue()


def _read(root: Path) -> dict[str, bytes]:
    """Return the files below a directory by relative POSIX path; empty if there is no directory."""
    paths = (path for path in sorted(root.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def _content(files: Mapping[str, bytes]) -> list[tuple[str, str]]:
    return [(path, hashlib.sha256(data).hexdigest()) for path, data in sorted(files.items())]


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]
