"""``tmppool check-links`` as an author runs it, on samples of what sites are made of, against a service that runs."""

import asyncio
import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.stage import free_ports
from tests.web.guests import Place
from tmppool.__main__ import main
from tmppool.check_links import command

ROOT = Path(__file__).parents[2]

EXPECTED = {
    ("_config.yml", 4, "address"),
    ("book.ipynb", 10, "document"),
    ("hugo.toml", 2, "document"),
    ("old.html", 1, "document"),
    ("page.html", 12, "parameter"),
    ("page.html", 12, "document"),
    ("page.html", 14, "parameter"),
    ("page.html", 15, "address"),
    ("page.html", 16, "address"),
    ("page.html", 17, "address"),
    ("page.md", 3, "document"),
    ("page.md", 5, "pool"),
    ("page.rst", 4, "document"),
    ("page.rst", 5, "pool"),
    ("page.rst", 8, "parameter"),
    ("page.rst", 8, "address"),
    ("templates/page.html.j2", 3, "document"),
    ("wide.md", 1, "document"),
}
"""File, line and subject of each problem in the samples, for a page of a site that may embed."""

EMBEDDED = {("page.html", 6), ("page.html", 18), ("page.html", 19), ("book.ipynb", 22), ("myst.yml", 5), ("conf.py", 2)}
MADE = {("templates/page.html.j2", 1), ("templates/page.html.j2", 2), ("page.md", 9), ("conf.py", 1)}


async def run(*words: object, env: dict[str, str] | None = None, **more: Any) -> tuple[int, str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("TMPPOOL_", "GITHUB_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tmppool", "check-links", *map(str, words),
        cwd=ROOT, env=environ | (env or {}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def places(found: list[dict[str, Any]], site: Path) -> set[tuple[str, int]]:
    return {(str(Path(each["file"]).relative_to(site)), each["line"]) for each in found}


async def test_each_kind_of_mistake_is_found_where_it_stands(service: Place, site: Path) -> None:
    before = await service.stats()
    status, out, err = await run(site, f"--service={service.url}", "--site=https://docs.example/guide/", "--json")
    assert (status, err) == (1, "")
    told = json.loads(out)
    problems = {(str(Path(each["file"]).relative_to(site)), each["line"], each["subject"]) for each in told["problems"]}
    assert problems == EXPECTED
    assert places(told["unjudged"], site) == MADE
    assert told["skipped"] == [{"reason": "is no text", "files": [str(site / "picture.svg")]}]
    assert told["files"] == 11
    assert await service.stats() == before


async def test_what_a_page_of_another_site_embeds_is_found(service: Place, site: Path) -> None:
    _, out, _ = await run(site, f"--service={service.url}", "--site=https://other.example", "--json")
    problems = json.loads(out)["problems"]
    embedded = [each for each in problems if each["subject"] == "embedding"]
    assert places(embedded, site) == EMBEDDED
    assert all("https://other.example" in each["message"] and "--embed-origins" in each["message"] for each in embedded)
    assert len(problems) == len(embedded) + len(EXPECTED)


async def test_without_a_site_embedding_is_not_judged_and_that_is_said(service: Place, site: Path) -> None:
    _, out, _ = await run(site, f"--service={service.url}", "--json")
    unjudged = [each for each in json.loads(out)["unjudged"] if "--site" in each["message"]]
    assert places(unjudged, site) == EMBEDDED


async def test_names_that_are_meant_are_told(service: Place, site: Path) -> None:
    status, out, _ = await run(site / "page.html", "--service", service.url)
    assert status == 1
    lines = out.splitlines()
    assert (
        f"{site}/page.html:12:14: {service.url}/lab/tree/intr.ipynb?x=1&poool=r: there is no document 'intr.ipynb'; did you mean 'intro.ipynb'?"
        in lines
    )
    assert (
        f"{site}/page.html:15:14: {service.url}/v2/gh/stranger/book/main: the service says: This service has no notebooks for the repository gh/stranger/book."
        in lines
    )
    assert lines[6].startswith("6 problems in 1 file: 12 links to http://127.0.0.1:")


async def test_a_site_without_mistakes_ends_with_0(service: Place, site: Path) -> None:
    page = site / "fine.md"
    page.write_text(f"[x]({service.url}/notebooks/intro.ipynb)")
    for env in ({}, {"GITHUB_ACTIONS": "true"}):
        status, out, _ = await run(page, f"--service={service.url}", env=env)
        assert (status, "No problems: 1 link to " in out) == (0, True)


async def test_in_a_workflow_problems_are_annotations(service: Place, site: Path) -> None:
    env = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(site.parent), "TMPPOOL_SERVICE": service.url}
    status, out, _ = await run(site / "hugo.toml", env=env)
    assert status == 1
    first, *rest = out.splitlines()
    assert first == (
        f"::error file=site/hugo.toml,line=2,col=9,title=check-links::"
        f"{service.url}/lab/tree/gone.ipynb: there is no document 'gone.ipynb'"
    )
    assert [line.partition("::1 problem")[0] for line in rest] == ["::notice"]


async def test_a_service_that_does_not_answer_ends_with_69(site: Path) -> None:
    status, out, err = await run(site, f"--service=http://127.0.0.1:{free_ports(1)[0]}")
    assert (status, out, err.count("\n")) == (69, "", 1)
    assert err.startswith("tmppool: --service: http://127.0.0.1:")
    assert "does not answer" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["."], "--service: name the service"),
        (["--service=https://nb.example"], "the following arguments are required: PAGE_OR_FOLDER"),
        (["nowhere.md", "--service=https://nb.example"], "'nowhere.md' cannot be read: No such file"),
        (["\0", "--service=https://nb.example"], "'\\x00' cannot be read"),
        (["https://docs.example/", "--service=https://nb.example"], "is a URL; name files or folders"),
        ([".", "--service=nb.example"], "--service: 'nb.example' is not allowed"),
        ([".", "--service=https://nb.example/lab"], "--service: 'https://nb.example/lab' is not allowed"),
        ([".", "--service=https://[::1"], "--service: 'https://[::1' is not allowed"),
        ([".", "--service=https://nb.example:x"], "is not allowed"),
        ([".", "--service=https://nb.example", "--site=docs"], "--site: 'docs' is not allowed"),
        ([".", "--service=https://nb.example", "--format=xml"], "--format: invalid choice: 'xml'"),
        ([".", "--bogus"], "unrecognized arguments: --bogus"),
    ],
)
def test_a_mistake_of_the_caller_ends_with_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMPPOOL_SERVICE", raising=False)
    assert main(["check-links", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err


async def test_several_services_and_sites_are_named_by_variables(service: Place, site: Path) -> None:
    env = {
        "TMPPOOL_SERVICE": f"{service.url}, http://localhost:{service.port}/",
        "TMPPOOL_SITE": "https://other.example,https://docs.example",
    }
    page = site / "two.html"
    page.write_text(f"<iframe src='http://localhost:{service.port}/lab'></iframe> {service.url}/lab?pool=x")
    _, out, err = await run(page, "--json", env=env)
    told = json.loads(out)
    assert told["services"] == [service.url, f"http://localhost:{service.port}"]
    assert [(each["subject"], each["column"]) for each in told["problems"]] == [("embedding", 14), ("pool", 52)], err


async def test_what_is_hostile_forges_no_line(service: Place, tmp_path: Path) -> None:
    """Neither a file's name nor a link in it begins a line, ends a command or steers a terminal."""
    name = "a\n::error::forged\x1b[31m,line=7 ##[warning]\udcff.md"
    page = tmp_path / name
    page.write_text(f'<a href="{service.url}/lab?pool=zz&x=\u202e\x1b[2J&#10;::error::x##[error]">')
    for form in ("text", "github", "json"):
        status, out, err = await run(tmp_path, f"--service={service.url}", f"--format={form}", env={"LC_ALL": "C"})
        assert (status, err) == (1, "")
        assert not [char for char in out if not char.isprintable() and char != "\n"]
        if form != "json":
            assert "##[" not in out
            assert [line for line in out.splitlines() if line.startswith("::")] == (
                out.splitlines() if form == "github" else []
            )
            assert len(out.splitlines()) == 2


async def test_output_of_few_characters_ends_in_escapes(service: Place, tmp_path: Path) -> None:
    page = tmp_path / "größe.md"
    page.write_text(f"[x]({service.url}/notebooks/größe.ipynb)")
    status, out, err = await run(page, f"--service={service.url}", env={"PYTHONIOENCODING": "ascii"})
    assert (status, err) == (1, "")
    assert "gr\\xf6\\xdfe.md:1:5:" in out


async def test_a_terminal_shows_progress_and_a_pipe_does_not(service: Place, site: Path) -> None:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tmppool", "check-links", str(site), f"--service={service.url}",
        cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    out, _ = await process.communicate()
    shown = b""
    with contextlib.suppress(OSError):  # the end, of a terminal
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert b"Reading" in shown
    assert b"Reading" not in out


async def test_the_reader_of_a_pipe_may_have_enough(service: Place, site: Path) -> None:
    there, here = os.pipe()
    os.close(there)
    with os.fdopen(here, "wb") as closed:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tmppool", "check-links", str(site), f"--service={service.url}",
            cwd=ROOT, stdout=closed, stderr=subprocess.PIPE,
        )  # fmt: skip
        _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


async def test_more_links_than_are_looked_at_are_told(
    service: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "MOST_OF_A_FILE", 3)
    monkeypatch.setattr(command, "MOST_LINKS", 5)
    for name in "abc":
        (tmp_path / f"{name}.md").write_text(f"{service.url}/lab " * (4 if name == "a" else 2))
    assert (
        await asyncio.to_thread(main, ["check-links", str(tmp_path), f"--service={service.url}", "--format=text"]) == 0
    )
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("No problems: 5 links ")
    assert out[1] == f"Left out: 2 files, the first {tmp_path}/a.md, which has more links than 3 in a file or 5 in all."


async def test_a_large_site_takes_seconds_and_little_memory(service: Place, tmp_path: Path) -> None:
    page = ("text " * 2000 + "\n") * 3 + f'<a href="{service.url}/lab">'
    for number in range(10_000):
        folder = tmp_path / f"{number % 100}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.html").write_text(page if number % 10 == 0 else page[:-60])
    code = (
        "import resource, sys, time\nfrom tmppool.__main__ import main\nbegan = time.process_time()\n"
        "status = main(sys.argv[1:])\nmost = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "sys.stderr.write(f'{status} {time.process_time() - began:.1f} {most}')"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, "check-links", str(tmp_path), f"--service={service.url}",
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    status, seconds, kibibytes = err.decode().split()
    assert (status, b"1,000 links" in out, b"10,000 files" in out) == ("0", True, True)
    assert float(seconds) < 30
    assert int(kibibytes) < 400 * 1024
