"""The workshop image: what is in it, what is left out, and that nothing of its build stays."""

import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.archlinux.conftest import Lean
from tests.archlinux.stage import CHECK, NOTHING, bare, made, said
from tmppool.build_image import build
from tmppool.errors import ImageError
from tmppool.recipes import BuildOptions, images_dir

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]  # the first test has to build the images

IMAGES = images_dir()


def verdicts(output: str) -> dict[str, str]:
    lines = re.findall(r"^(ok|FAILED) +(\S+(?: \S+)*)  ", output, re.MULTILINE)
    return {name: verdict for verdict, name in lines}


def test_the_full_image_passes_its_own_check_as_a_visitor(full: str) -> None:
    code, output = said(full, CHECK)
    assert code == 0, output
    kernels = ("bash", "ir", "octave", "python3")
    assert set(verdicts(output).values()) == {"ok"}
    assert {name for name in verdicts(output) if name.startswith("kernel ")} == {f"kernel {name}" for name in kernels}
    assert re.search(r"^All \d+ checks passed\.$", output, re.MULTILINE)


def test_a_build_can_end_with_the_check(lean: Lean) -> None:
    assert f"RUN {CHECK}" in lean.log
    assert set(verdicts(lean.log).values()) == {"ok"}
    assert re.search(r"^All \d+ checks passed\.$", lean.log, re.MULTILINE)


def test_what_is_left_out_is_not_there_even_where_the_base_has_it(lean: Lean) -> None:
    assert {name for name in verdicts(lean.log) if name.startswith("kernel ")} == {"kernel bash", "kernel python3"}
    assert said(lean.name, "ls", "/home/jovyan/examples") == (0, "Bash.ipynb\n")
    for module in ("scipy", "octave_kernel"):
        assert said(lean.name, "python", "-c", f"import {module}")[0] == 1


def test_the_full_image_has_the_scientific_packages_and_an_example_for_each_kernel(full: str) -> None:
    modules = "ipywidgets, matplotlib, numpy, pandas, scipy.stats, seaborn, sklearn.cluster, statsmodels.api, sympy"
    assert said(full, "python", "-c", f"import {modules}")[0] == 0
    assert said(full, "ls", "/home/jovyan/examples") == (0, "Bash.ipynb\nOctave.ipynb\nR.ipynb\n")


@pytest.mark.parametrize("notebook", ["welcome", "examples/R", "examples/Octave", "examples/Bash"])
def test_every_notebook_of_the_home_runs(full: str, notebook: str) -> None:
    execute = f'cp -a /home/jovyan /tmp/home && cd /tmp/home && exec jupyter nbconvert --execute --to notebook --stdout "{notebook}.ipynb"'
    code, output = said(full, "sh", "-c", execute, options=("--env=HOME=/tmp/home",))
    assert code == 0, output
    assert '"output_type": "error"' not in output
    assert ('"image/png"' in output) == (notebook in {"welcome", "examples/R"})


def test_what_the_image_says_of_itself(full: str) -> None:
    (facts,) = json.loads(made("image", "inspect", full))
    config = facts["Config"]
    assert config["Entrypoint"] == ["tini", "-g", "--"]
    assert config["Cmd"] == ["start-notebook.sh"]
    assert config["User"] == "1000:100"
    assert config["WorkingDir"] == "/home/jovyan"
    assert config["ExposedPorts"] == {"8888/tcp": {}}
    assert config["Labels"] == {"tmppool.landing": "/notebooks/welcome.ipynb"}


def test_nothing_of_the_build_is_in_any_layer(lean: Lean, tmp_path: Path) -> None:
    """The certificates above all: hidden or not, they are in none of the layers."""
    subprocess.run(f"docker save {lean.name} | tar -x -C {tmp_path}", shell=True, check=True)
    layers = [path for path in tmp_path.rglob("*") if path.is_file() and tarfile.is_tarfile(path)]
    assert len(layers) >= 8
    names = [
        name for layer in layers for name in subprocess.check_output(["tar", "-tf", layer], text=True).splitlines()
    ]
    assert len(names) > 1000
    assert [name for name in names if name.startswith("build/") or "ca-bundle" in name] == []


async def test_the_image_can_be_built_by_the_engines_own_command_alone() -> None:
    """The directory is the whole context then, without a bundle of certificates; the first stage needs no network."""
    arguments = [f"--build-arg={name}={value}" for name, value in (("BASE", await bare()), *NOTHING)]
    tag = "tmppool/test-alone:latest"
    made("build", "--target=system", f"--tag={tag}", *arguments, str(IMAGES / "archlinux"))
    made("rmi", tag)


# What cannot be built


@pytest.mark.parametrize("name", ["WITH_R", "WITH_JULIA", "WITH_OCTAVE", "WITH_SCIENCE"])
async def test_a_part_is_wanted_or_not(name: str) -> None:
    arguments = (*((other, "no") for other, _ in NOTHING if other != name), (name, "maybe"))
    with pytest.raises(ImageError) as caught:
        await build("archlinux", BuildOptions(base=await bare(), arguments=arguments))
    assert f"{name} is 'maybe'; it can be yes or no" in str(caught.value)


async def test_a_base_that_cannot_give_what_is_wanted_is_said_at_once() -> None:
    with pytest.raises(ImageError, match="the base has no R, and no package of our lists brought it"):
        await build("archlinux", BuildOptions(base=await bare()))


async def test_a_base_that_is_not_there_is_said_with_the_way_to_bring_it() -> None:
    with pytest.raises(ImageError, match="the base image 'nowhere:1' is not on this engine: docker pull nowhere:1, or"):
        await build("archlinux", BuildOptions(base="nowhere:1"))
