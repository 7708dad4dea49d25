"""Recipes, the names of their images and the contexts of their builds."""

import io
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tmppool import recipes
from tmppool.errors import ImageError
from tmppool.recipes import BuildOptions, Recipe

OPTIONS = BuildOptions()


def test_the_checkout_has_its_recipes() -> None:
    assert "debian" in recipes.names()
    for name in recipes.names():
        files = Recipe.read(name).files
        assert files["base"].startswith(b"#!/bin/sh")
        instructions = re.sub(rb"^#.*\n", b"", files["Dockerfile"], flags=re.MULTILINE)
        assert re.match(rb"ARG BASE(=\S+)?\nFROM \$\{BASE\} AS ", instructions)


def test_no_file_of_the_images_has_two_homes() -> None:
    """What images share is in ``common`` alone; a copy for a plain ``docker build`` is not the repository's."""
    root = recipes.images_dir()
    found: dict[bytes, list[str]] = {}
    for path in (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        place = path.relative_to(root).as_posix()
        if place.count("/common/") == 0 and path.stat().st_size:
            found.setdefault(path.read_bytes(), []).append(place)
    assert [places for places in found.values() if len(places) > 1] == []


@pytest.mark.parametrize("name", ["debian", "archlinux"])
def test_every_shared_file_is_copied_into_every_image(name: str) -> None:
    files = Recipe.read(name).files
    shared = [path for path in files if path.startswith("common/")]
    assert len(shared) == 6
    for path in shared:
        assert f"COPY {path} ".encode() in files["Dockerfile"]


def test_what_is_shared_is_part_of_the_name_and_an_old_copy_of_it_is_not(images: Path) -> None:
    without = Recipe.read("toy").image(OPTIONS)
    (images / "common").mkdir()
    (images / "common" / "start.sh").write_text("#!/bin/sh\n")
    first = Recipe.read("toy")
    assert first.files["common/start.sh"] == b"#!/bin/sh\n"
    (images / "toy" / "common").mkdir()
    for old in ("start.sh", "other.sh"):
        (images / "toy" / "common" / old).write_text("old")
    assert Recipe.read("toy") == first
    (images / "common" / "start.sh").write_text("#!/bin/sh\nexit\n")
    assert len({without, first.image(OPTIONS), Recipe.read("toy").image(OPTIONS)}) == 3


@pytest.mark.parametrize("script", ["debian/base", "common/start-notebook.sh", "common/profile.sh"])
def test_the_images_scripts_are_posix_shell(script: str) -> None:
    path = recipes.images_dir() / script
    assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0


def test_an_installed_package_has_its_recipes_beside_its_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tmppool"
    package.mkdir()
    monkeypatch.setattr(recipes, "__file__", str(package / "recipes.py"))
    assert recipes.images_dir() == tmp_path / "images"
    (package / "images").mkdir()
    assert recipes.images_dir() == package / "images"


def test_only_directories_with_a_dockerfile_are_recipes(images: Path) -> None:
    assert recipes.names() == ["toy"]


def test_names_are_stable(images: Path) -> None:
    one, two = Recipe.read("toy"), Recipe.read("toy")
    assert one.image(OPTIONS) == two.image(OPTIONS)
    assert re.fullmatch(r"tmppool/toy:[0-9a-f]{8}", one.image(OPTIONS))
    assert re.fullmatch(r"tmppool/toy-base:[0-9a-f]{8}", one.base(OPTIONS))


@pytest.mark.parametrize(
    ("path", "base_too"),
    [
        ("base", True),
        ("mkimage.sh", True),
        ("mkimage/packages", True),
        ("Dockerfile", False),
        ("home/a.txt", False),
        ("home/new.txt", False),
    ],
)
def test_a_changed_file_changes_the_name(images: Path, path: str, *, base_too: bool) -> None:
    before = Recipe.read("toy")
    (images / "toy" / path).parent.mkdir(exist_ok=True)
    (images / "toy" / path).write_text("changed")
    after = Recipe.read("toy")
    assert after.image(OPTIONS) != before.image(OPTIONS)
    assert (after.base(OPTIONS) != before.base(OPTIONS)) is base_too


def test_a_renamed_file_changes_the_name(images: Path) -> None:
    before = Recipe.read("toy").image(OPTIONS)
    (images / "toy" / "home" / "a.txt").rename(images / "toy" / "home" / "b.txt")
    assert Recipe.read("toy").image(OPTIONS) != before


@pytest.mark.parametrize(
    ("options", "base_changes", "image_changes"),
    [
        (BuildOptions(suite="trixie"), True, True),
        (BuildOptions(mirror="http://mirror.example/debian"), True, True),
        (BuildOptions(pip_index="http://index.example/simple"), False, True),
        (BuildOptions(base="sha256:0123"), True, True),
        (BuildOptions(arguments=(("WITH_R", "no"),)), False, True),
        (BuildOptions(ca_bundle=Path("/etc/ca.pem")), False, False),
        (BuildOptions(log=Path("/var/log/build.log")), False, False),
        (BuildOptions(fresh=True), False, False),
    ],
)
def test_only_options_that_end_up_in_the_image_change_its_name(
    images: Path, options: BuildOptions, *, base_changes: bool, image_changes: bool
) -> None:
    recipe = Recipe.read("toy")
    assert (recipe.base(options) != recipe.base(OPTIONS)) is base_changes
    assert (recipe.image(options) != recipe.image(OPTIONS)) is image_changes


def test_leftovers_of_python_do_not_change_the_name(images: Path) -> None:
    before = Recipe.read("toy").image(OPTIONS)
    (images / "toy" / "__pycache__").mkdir()
    (images / "toy" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert Recipe.read("toy").image(OPTIONS) == before


def test_the_context_depends_on_contents_alone(images: Path) -> None:
    before = Recipe.read("toy").context(b"CA", 1e9)
    for number, path in enumerate((images / "toy").rglob("*")):
        path.chmod(0o700)
        os.utime(path, (number, number))
    assert Recipe.read("toy").context(b"CA", 1e9) == before
    with tarfile.open(fileobj=io.BytesIO(before)) as tar:
        modes = {entry.name: oct(entry.mode) for entry in tar}
        bundle = tar.extractfile("ca-bundle.crt")
        assert bundle is not None
        assert bundle.read() == b"CA"
    assert modes == {"Dockerfile": "0o644", "base": "0o755", "ca-bundle.crt": "0o644", "home/a.txt": "0o644"}


@pytest.mark.parametrize(("given", "trusted"), [(b"", b"the recipe's"), (b"given", b"given")])
def test_certificates_beside_the_recipe_are_trusted_unless_others_are_given(given: bytes, trusted: bytes) -> None:
    toy = Recipe("toy", {"ca-bundle.crt": b"the recipe's"})
    with tarfile.open(fileobj=io.BytesIO(toy.context(given, 1e9))) as tar:
        bundle = tar.extractfile("ca-bundle.crt")
        assert bundle is not None
        assert bundle.read() == trusted


def test_the_environment_fills_in_what_was_not_given(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("CA")
    environ = {"PIP_CERT": "/nowhere/ca.pem", "SSL_CERT_FILE": str(bundle), "PIP_INDEX_URL": "http://index.example"}
    assert OPTIONS.resolved({}) == OPTIONS
    assert OPTIONS.resolved(environ) == BuildOptions(ca_bundle=bundle, pip_index="http://index.example")
    given = BuildOptions(ca_bundle=Path("/mine"), pip_index="http://mine.example")
    assert given.resolved(environ) == given


def test_certificates() -> None:
    assert OPTIONS.certificates() == b""
    with pytest.raises(ImageError, match=r"CA bundle /nowhere/ca\.pem cannot be read: No such file"):
        BuildOptions(ca_bundle=Path("/nowhere/ca.pem")).certificates()


def test_a_given_base_is_built_on() -> None:
    toy = Recipe("toy", {"base": b"", "Dockerfile": b""})
    assert toy.base(BuildOptions(base="archlinux:latest")) == "archlinux:latest"
    assert toy.build_arguments(BuildOptions(base="archlinux:latest"), {})["BASE"] == "archlinux:latest"


def test_what_goes_into_the_engines_build() -> None:
    toy = Recipe("toy", {"base": b"", "Dockerfile": b""})
    options = BuildOptions(pip_index="http://index.example", arguments=(("WITH_R", "no"),))
    environ = {"HTTPS_PROXY": "http://proxy.example", "no_proxy": "localhost", "HTTP_PROXY": "", "HOME": "/root"}
    assert toy.build_arguments(options, environ) == {
        "BASE": toy.base(options),
        "PIP_INDEX_URL": "http://index.example",
        "HTTPS_PROXY": "http://proxy.example",
        "no_proxy": "localhost",
        "WITH_R": "no",
    }


@pytest.mark.parametrize(
    ("dockerfile", "there"),
    [
        (
            b"ARG BASE\nFROM ${BASE}\nARG WITH_R=yes\nARG PIP_INDEX_URL\nARG WITH_JULIA\n",
            "; there is: WITH_JULIA, WITH_R",
        ),
        (b"ARG BASE\nFROM ${BASE}\n", ""),
    ],
)
def test_an_argument_that_the_recipe_does_not_know_is_refused(dockerfile: bytes, there: str) -> None:
    toy = Recipe("toy", {"base": b"", "Dockerfile": dockerfile})
    with pytest.raises(ImageError) as caught:
        toy.check(BuildOptions(arguments=(("WITH_TEA", "yes"),)))
    assert str(caught.value) == f"the image 'toy' has no build argument 'WITH_TEA'{there}"
    if there:
        toy.check(BuildOptions(arguments=(("WITH_R", "no"),)))
    with pytest.raises(ImageError, match="is set with --pip-index"):
        toy.check(BuildOptions(arguments=(("PIP_INDEX_URL", "https://index.example"),)))
