"""Settings that an engine refuses end the start of the service, in one sentence, and leave nothing on the engine."""

from pathlib import Path

import aiodocker
import pytest

from tests.acceptance.harness import IMAGE, Service
from tests.acceptance.test_mistakes import start
from tests.test_app import settings
from tmppool import app
from tmppool.errors import BackendError, ConfigError


async def refused(home: Path, **more: object) -> str:
    name = f"refused-{home.name}"[:40]
    with pytest.raises((ConfigError, BackendError)) as caught:
        async with app.service(settings(home, backend="docker", pool_name=name, **more)):
            pytest.fail("it opened")
    assert isinstance(caught.value, ConfigError) or not caught.value.transient  # either ends with 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_a_range_of_user_numbers_that_is_too_small_is_said_before_any_engine_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/at.all")
    assert (await refused(tmp_path, container_uids="20000-20000")).startswith("--container-uids: '20000-20000' is not")


@pytest.mark.engine
@pytest.mark.timeout(1200)  # the first test may have to build the image
@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("", "is not JSON"),
        ("{}", 'has no "defaultAction"'),
        ('{"defaultAction": "SCMP_ACT_NONSENSE"}', "SCMP_ACT_NONSENSE is not a valid action"),
    ],
)
async def test_a_seccomp_profile_that_is_none_ends_the_start(tmp_path: Path, profile: str, words: str) -> None:
    (tmp_path / "profile.json").write_text(profile)
    sentence = await refused(tmp_path, seccomp=str(tmp_path / "profile.json"))
    assert sentence.startswith("--seccomp: ")
    assert words in sentence


@pytest.mark.engine
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "option",
    [
        "--runtime=nobody-has-this",
        "--mem-limit=1m",
        "--host-directories=foo",
        "--host-directories={home}/none:/x:ro",
        "--extra-hosts=foo",
    ],
)
async def test_a_refusal_is_one_line_on_standard_error_and_makes_nothing(tmp_path: Path, option: str) -> None:
    options = Service(tmp_path, "docker", f"--image={IMAGE}", option.format(home=tmp_path)).options
    status, said = await start(*options)
    (line,) = said.splitlines()
    assert status == 2
    assert option.partition("=")[0] in line
    assert not (tmp_path / "none").exists()


@pytest.mark.engine
@pytest.mark.timeout(1200)
async def test_a_runtime_that_is_not_there_ends_the_start_and_nothing_is_left(tmp_path: Path) -> None:
    assert (await refused(tmp_path, runtime="nobody-has-this")).startswith("--runtime: ")
    async with aiodocker.Docker() as docker:
        label = f"tmppool.service=refused-{tmp_path.name}"[: len("tmppool.service=") + 40]
        assert await docker.containers.list(all=True, filters={"label": [label]}) == []
