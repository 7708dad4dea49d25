"""The packages of the Debian image are the same bytes in every build."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
DEBIAN = ROOT / "images" / "debian"
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def wanted() -> list[Requirement]:
    lines = (DEBIAN / "requirements.in").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def locked() -> list[tuple[Requirement, list[str]]]:
    """Each entry of the list, and its hashes."""
    text = (DEBIAN / "requirements.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(Requirement(line.partition("--hash")[0]), HASH.findall(line)) for line in lines]


def test_each_package_has_one_version_and_hashes() -> None:
    assert len(locked()) > 80
    for requirement, hashes in locked():
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], requirement
        assert hashes, requirement


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", PYTHONS)
def test_what_is_wanted_is_there_once_for_each_python_and_machine(python: str, machine: str) -> None:
    here = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "platform_machine": machine,
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_system": "Linux",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    found = [each for each, _ in locked() if each.marker is None or each.marker.evaluate(here)]
    versions = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in found}
    assert len(versions) == len(found)
    for requirement in wanted():
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_a_package_with_code_of_its_own_for_each_machine_has_the_hashes_of_all() -> None:
    hashes = {requirement.name: len(found) for requirement, found in locked()}
    for name in ("pandas", "pyzmq", "pillow", "kiwisolver"):
        assert hashes[name] > 4 * len(PYTHONS), name


def test_the_image_takes_nothing_else() -> None:
    recipe = (DEBIAN / "Dockerfile").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"pip install [^;]*", recipe)
    assert "--require-hashes" in line
    assert re.search(r"--only-binary +:all: ", line)
    assert "requirements.txt" in line
