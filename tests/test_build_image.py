"""Recipes, names and contexts of images, and the sentences for what cannot be built; no engine is needed."""

import asyncio
import io
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rich.console import Console

from tmppool import build_image
from tmppool.build_report import Report, StepError
from tmppool.errors import ImageError
from tmppool.recipes import BuildOptions, Recipe

OPTIONS = BuildOptions()


@pytest.fixture
def shown() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
async def report(tmp_path: Path, shown: Console) -> AsyncIterator[Report]:
    async with Report("image 'toy'", tmp_path / "kept" / "build.log", shown) as report:
        yield report


async def test_an_unknown_name_lists_what_there_is(images: Path) -> None:
    with pytest.raises(ImageError, match="unknown image 'teapot'; known: toy"):
        await build_image.build("teapot")


@pytest.mark.parametrize("name", ["..", "../images/toy", "", "no-recipe"])
async def test_a_path_is_no_name(images: Path, name: str) -> None:
    with pytest.raises(ImageError, match="unknown image"):
        await build_image.build(name)


@pytest.mark.parametrize("url", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:9"])
async def test_without_an_engine_one_sentence_says_so(images: Path, url: str) -> None:
    with pytest.raises(ImageError) as caught:
        await build_image.build("toy", url=url)
    assert str(caught.value) == f"the Docker Engine at {url} did not answer; start it or set DOCKER_HOST"


@pytest.mark.parametrize("url", ["teapot", "fd://", "ssh://nowhere", "npipe:////./pipe/docker_engine"])
async def test_an_engine_at_an_address_that_nobody_can_ask(images: Path, url: str) -> None:
    with pytest.raises(ImageError, match=rf"^{re.escape(url)} is not the address of a Docker Engine: "):
        await build_image.build("toy", url=url)


@pytest.mark.parametrize("tty", [False, True])
async def test_each_step_is_shown(tmp_path: Path, *, tty: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=tty, width=100)
    async with Report("tea", tmp_path / "log", console) as report:
        async with report.step("boil water"):
            await report.line("bubbles [and] brackets\n")
        async with report.step("add tea"):
            pass
    output = console.file.getvalue()  # type: ignore[attr-defined]
    if tty:
        assert "boil water" in output
        assert "✓" in output
    else:
        assert re.fullmatch(r" {3}\d s  boil water\n {3}\d s  add tea\n", output)
    assert "bubbles [and] brackets\n" in (tmp_path / "log").read_text()


async def test_a_failed_step_names_itself_its_reason_and_the_log(report: Report, shown: Console) -> None:
    async def step() -> None:
        async with report.step("boil water"):
            await report.line("\x1b[31mthe kettle is empty\x1b[0m\n")
            raise StepError("no water")

    with pytest.raises(ImageError) as caught:
        await step()
    assert str(caught.value) == f"image 'toy': the step 'boil water' failed: no water (whole log: {report.log})"
    assert "    the kettle is empty\n" in shown.file.getvalue()  # type: ignore[attr-defined]


async def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match=r"the log .*/file/log cannot be written"):
        async with Report("tea", tmp_path / "file" / "log"):
            pass


def tools(report: Report) -> build_image._Build:
    return build_image._Build(Recipe("toy", {}), OPTIONS, None, report)  # type: ignore[arg-type]


async def test_a_failing_tools_last_line_is_the_reason(report: Report) -> None:
    with pytest.raises(ImageError, match="'try' failed: it broke "):
        async with report.step("try"):
            await tools(report)._tool("sh", "-c", "echo working; echo it broke >&2; exit 3")
    assert "working\nit broke\n" in report.log.read_text()


async def test_a_missing_tool(report: Report) -> None:
    with pytest.raises(ImageError, match=r"'try' failed: .*no-such-tool"):
        async with report.step("try"):
            await tools(report)._tool("no-such-tool")


async def test_a_silent_tool_is_ended(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_image, "STALL", 0.05)
    with pytest.raises(ImageError, match="sleep was silent for 0 s"):
        async with report.step("try"):
            await tools(report)._tool("sleep", "60")


async def test_cancelling_ends_the_tool_and_its_children(report: Report, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $! $$ >{pids}; echo ready; wait"
    task = asyncio.get_running_loop().create_task(tools(report)._tool("sh", "-c", script))
    async with asyncio.timeout(10):
        while "ready" not in report.log.read_text():
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for pid in pids.read_text().split():
        async with asyncio.timeout(10):
            while runs(int(pid)):
                await asyncio.sleep(0.01)


def runs(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_making_a_base_needs_root(images: Path, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ImageError, match="requires root; run this with sudo"):
        await tools(report)._make_base("tmppool/toy-base:0")


async def test_a_failed_base_leaves_no_directory(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(build_image, "user_cache_path", lambda _: tmp_path / "cache")
    build = build_image._Build(Recipe("toy", {"base": b"exit 1"}), OPTIONS, None, report)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="the step 'make the base system from packages' failed"):
        await build._make_base("tmppool/toy-base:0")
    assert list((tmp_path / "cache").iterdir()) == []
