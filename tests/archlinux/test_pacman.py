"""What the image's first step has pacman do: real pacman, with a repository made here."""

import shutil
from pathlib import Path

import pytest

from tests.archlinux.stage import HERE, bare, built, made
from tmppool.recipes import BuildOptions, images_dir

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]  # the first test has to build the images

LISTS = images_dir() / "archlinux" / "packages"
TAG = "tmppool/test-pacman-system:latest"
ANCHORS = "/etc/ca-certificates/trust-source/anchors"
SECRETS = "find /etc/pacman.d/gnupg/ -name '*.key' -o -name '*.rev' -o -name 'S.*'"
SHOW = f"cat /var/log/trusted; find /var/cache/pacman /var/lib/pacman/sync {ANCHORS} -type f; {SECRETS}; echo; exec pacman -Qq 2>/dev/null"


def names(*lists: str) -> set[str]:
    lines = (line.partition("#")[0].strip() for each in lists for line in (LISTS / each).read_text().splitlines())
    return {line for line in lines if line}


@pytest.fixture
async def base(tmp_path: Path) -> str:
    context = tmp_path / "context"
    shutil.copytree(HERE / "pacman", context)
    for path in LISTS.glob("arch*.txt"):
        shutil.copy(path, context)
    tag = "tmppool/test-pacman:latest"
    made("build", f"--tag={tag}", f"--build-arg=BASE={await bare()}", str(context))
    return tag


@pytest.mark.parametrize(
    ("arguments", "lists"),
    [
        ((), ("arch.txt", "arch-r.txt", "arch-julia.txt", "arch-octave.txt")),
        ((("WITH_R", "no"), ("WITH_OCTAVE", "no")), ("arch.txt", "arch-julia.txt")),
    ],
)
async def test_it_installs_the_lists_and_leaves_neither_downloads_nor_trust_nor_secrets(
    base: str, arguments: tuple[tuple[str, str], ...], lists: tuple[str, ...], tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("a certificate to trust while building")
    options = BuildOptions(base=base, arguments=arguments, ca_bundle=bundle)
    code, output = await built(options, "--target=system", f"--tag={TAG}")
    assert code == 0, output
    assert "There is no pacman" not in output
    rest, installed = made("run", "--rm", TAG, "sh", "-c", SHOW).split("\n\n")
    made("rmi", TAG)
    assert rest.split() == ["1", "0"]  # certificates that were trusted at first, and at last
    assert set(installed.split()) == names(*lists)


async def test_a_package_that_is_not_to_be_had_ends_the_build(base: str) -> None:
    code, output = await built(BuildOptions(base=base), "--target=system", files={"packages/arch.txt": "tea\n"})
    assert code == 1
    assert "target not found: tea" in output
    assert "pacman could not install the packages: see above" in output
