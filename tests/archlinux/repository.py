"""A small package repository, made with makepkg and signed, that mkimage-arch.sh takes for a mirror of Arch Linux.

Its one large package, ``system``, is a whole Debian with pacman in it and provides what Arch's packages are called: so
all that runs at a build is real (pacstrap, pacman, pacman-key, gpg, locale-gen), on both sides of the chroot.
"""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUILDER = 65534  # makepkg refuses to run as root
MACHINE = platform.machine()
ROOT = Path(__file__).parents[2]
_LISTS = (ROOT / "images/archlinux/mkimage/packages", ROOT / "images/archlinux/packages/arch.txt")
PROVIDED = sorted({line for path in _LISTS for line in path.read_text().splitlines() if line and line[0] != "#"})
PKGBUILD = """
pkgname={name}
pkgver=1.0
pkgrel=1
pkgdesc='Made by a test'
arch=({arch})
license=(custom)
provides=({provides})
options=(!strip !zipman !purge docs libtool staticlibs emptydirs)
package() {{
    {commands}
}}
"""


@dataclass(frozen=True)
class Repository:
    """``mirror`` is laid out as Arch's mirrors are; ``keyring`` holds what the distribution's keyring package would."""

    folder: Path

    @property
    def mirror(self) -> Path:
        return self.folder / "mirror"

    @property
    def keyring(self) -> Path:
        return self.folder / "keyring"

    def make(self, system: Path) -> None:
        """``system`` is a tar of the file system that the large package holds."""
        self.folder.chmod(0o755)
        for name in ("build", "keyring", "keys", "other-keys"):
            self._own(name)
        self._key("keys", "Distribution <distribution@tmppool.example>")
        self._key("other-keys", "Stranger <stranger@tmppool.example>")
        fingerprint = self._gpg("keys", "--list-keys", "--with-colons").split("fpr:::::::::")[1].split(":")[0]
        (self.keyring / "archlinux-trusted").write_text(f"{fingerprint}:4:\n")
        (self.keyring / "archlinux-revoked").write_text("")
        self._gpg("keys", "--export", "--output", str(self.keyring / "archlinux.gpg"))
        self.add(
            "core", "system", f'tar -C "$pkgdir" --exclude=.dockerenv --exclude=dev/* -xpf {system}', provides=PROVIDED
        )
        places = ("usr/share/pacman/keyrings", "usr/share/keyrings")  # Arch's, and where Debian's pacman-key looks
        commands = "\n".join(f'install -Dm644 -t "$pkgdir/{place}" {self.keyring}/*' for place in places)
        self.add("core", "archlinux-keyring", commands)
        self.add("extra", "hello", _program("hello", "Hello from a package."))
        self.add("extra", "forged", _program("forged", "Nobody should read this."), keys="other-keys")
        altered = self.add("extra", "altered", _program("altered", "Honest."))
        content = altered.read_bytes()
        altered.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        self.add("extra", "unsigned", _program("unsigned", "Who made me?"), keys="")

    def add(
        self, section: str, name: str, commands: str, *, keys: str = "keys", provides: list[str] | None = None
    ) -> Path:
        """Build a package, sign it with ``keys`` if named, and put it into the repository's ``section``."""
        work = self._own(f"build/{name}")
        text = PKGBUILD.format(name=name, arch=MACHINE, provides=" ".join(provides or []), commands=commands)
        (work / "PKGBUILD").write_text(text)
        self._as_builder(
            ["makepkg", "--nodeps", "--sign" if keys else "--nosign", "--config", str(self._config())],
            cwd=work,
            GNUPGHOME=str(self.folder / (keys or "keys")),
            PKGDEST=str(work),
        )
        folder = self.mirror / section / "os" / MACHINE
        folder.mkdir(parents=True, exist_ok=True)
        for path in work.glob("*.pkg.tar*"):
            shutil.move(path, folder / path.name)
        package = folder / f"{name}-1.0-1-{MACHINE}.pkg.tar.zst"
        run(["repo-add", "--quiet", f"{section}.db.tar.gz", package.name], cwd=folder)
        return package

    def close(self) -> None:
        for keys in ("keys", "other-keys"):
            self._as_builder(["gpgconf", "--kill", "all"], cwd=self.folder, GNUPGHOME=str(self.folder / keys))

    def _config(self) -> Path:
        path = self.folder / "makepkg.conf"
        path.write_text(
            "source /etc/makepkg.conf\n"
            "PKGEXT='.pkg.tar.zst'\n"
            "COMPRESSZST=(zstd -c -q -1 -)\n"
            "PACKAGER='Test <distribution@tmppool.example>'\n"
        )
        return path

    def _own(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(mode=0o755)
        os.chown(path, BUILDER, BUILDER)
        return path

    def _key(self, keys: str, name: str) -> None:
        (self.folder / keys).chmod(0o700)
        self._gpg(keys, "--batch", "--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "never")

    def _gpg(self, keys: str, *words: str) -> str:
        return self._as_builder(["gpg", "--quiet", *words], cwd=self.folder, GNUPGHOME=str(self.folder / keys))

    def _as_builder(self, command: list[str], **more: Any) -> str:
        own = ["setpriv", f"--reuid={BUILDER}", f"--regid={BUILDER}", "--clear-groups", "--"]
        return run([*own, *command], HOME=str(self.folder / "build"), **more)


def _program(name: str, says: str) -> str:
    return f'printf "#!/bin/sh\\necho {says}\\n" > {name}; install -Dm755 -t "$pkgdir/usr/bin" {name}'


def run(command: list[str], cwd: Path | None = None, **environ: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, "LC_ALL": "C", **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
