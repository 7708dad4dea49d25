"""The parts of scripts/bench that need nothing but Python; tests/acceptance/test_benchmarks.py runs each measure."""

import dataclasses
import inspect
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from benchmarks import chaos, containers, figures, main, parsers, table
from benchmarks.counts import FULL, QUICK
from benchmarks.main import Result
from benchmarks.measures import MEASURES, Measure
from benchmarks.options import Options
from benchmarks.procs import BenchError
from benchmarks.table import OURS, Bar, Row


@pytest.fixture
def quick(tmp_path: Path) -> Options:
    return Options(tmp_path, 1, 0.1, "tmppool/debian:latest", None, QUICK, is_quick=True)


def row(value: float, **more: object) -> Row:
    return Row("clicks", "ms", samples={OURS: [value]}, **more)


# Every measure has a quick form


def test_the_quick_form_does_less_of_everything() -> None:
    for field in dataclasses.fields(FULL):
        full, quick = getattr(FULL, field.name), getattr(QUICK, field.name)
        assert (quick < full) if not isinstance(full, tuple) else (0 < len(quick) < len(full)), field.name


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_has_a_quick_form_that_must_give_numbers(name: str) -> None:
    measure = MEASURES[name]
    assert inspect.isasyncgenfunction(measure.run)
    assert measure.rows(QUICK) > 0
    assert measure.faults([], QUICK), "a run that gives nothing is a fault"


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_takes_its_amounts_from_the_counts(name: str) -> None:
    """A measure with amounts of its own would run in full where the quick form was asked for."""
    text = Path(inspect.getsourcefile(MEASURES[name].run) or "").read_text()
    assert "options.counts." in text or "options.is_quick" in text
    assert re.findall(r"^(_[A-Z_]+) = \(?\d[\d, _.*]*\)?  # (?!seconds)", text, re.MULTILINE) == []


@pytest.mark.parametrize(
    ("at_most", "at_least", "value", "verdict"),
    [(2, None, 2, "pass"), (2, None, 3, "MISSED"), (None, 2, 2, "pass"), (None, 2, 1, "MISSED"), (None, None, 1, "")],
)
def test_a_figures_bar_is_above_it_or_below_it(
    at_most: float | None, at_least: float | None, value: float, verdict: str
) -> None:
    assert row(value, bar=figures.bar(at_most, at_least)).verdict == verdict


async def test_the_parsers_find_every_field_of_a_browsers_head(quick: Options) -> None:
    rows = [row async for row in parsers.request_heads(quick)]
    assert MEASURES["http-parsers"].faults(rows, QUICK) == []
    assert set(rows[0].samples) == {OURS, "aiohttp", "httptools", "h11"}


# What is wrong with a quick run


@pytest.mark.parametrize(
    ("rows", "faults"),
    [
        ([row(1)], []),
        ([row(0)], ["clicks: 0 ms"]),
        ([row(0, may_be_zero=True)], []),
        ([row(49, wanted=50)], ["clicks: 49 of 50"]),
        ([row(50, wanted=50)], []),
        ([Row("clicks", "ms")], ["clicks: no number"]),
        ([row(1), row(1)], ["2 of 1 rows came"]),
        ([], ["0 of 1 rows came"]),
    ],
)
def test_a_number_that_is_missing_or_wrong_is_a_fault(rows: list[Row], faults: list[str]) -> None:
    assert MEASURES["http-parsers"].faults(rows, QUICK) == faults


async def test_a_measure_that_fails_leaves_a_sentence_and_the_rows_it_had(
    monkeypatch: pytest.MonkeyPatch, quick: Options
) -> None:
    async def run(_options: Options) -> AsyncIterator[Row]:
        yield row(1)
        raise BenchError("nginx is not installed")

    monkeypatch.setitem(MEASURES, "broken", Measure(run, lambda _counts: 2))
    results = {"broken": Result()}
    await main._all(results, quick)
    assert (len(results["broken"].rows), results["broken"].failures) == (1, ["not finished: nginx is not installed"])


# The container that is opened directly


def test_a_twin_differs_in_address_and_token_alone() -> None:
    command = ["/bin/sh", "-c", "launch", "jupyter lab --base_url=/user/KEY/ --ip=127.0.0.1"]
    shown = {
        "Config": {"User": "20000:100", "Cmd": command, "Env": ["A=b", "JUPYTER_TOKEN=old"], "Labels": {"a": "b"}},
        "HostConfig": {"NetworkMode": "none", "Memory": 1},
    }
    assert containers._config(shown, "twin", "new") == {
        "User": "20000:100",
        "Cmd": ["/bin/sh", "-c", "launch", "jupyter lab --base_url=/user/twin/ --ip=0.0.0.0"],
        "Env": ["A=b", "JUPYTER_TOKEN=new"],
        "ExposedPorts": {"8888/tcp": {}},
        "HostConfig": {
            "NetworkMode": "bridge",
            "Memory": 1,
            "PortBindings": {"8888/tcp": [{"HostIp": "127.0.0.1"}]},
        },
    }


# The table


def test_the_table_has_a_column_for_each_contender_and_the_median_of_ratios() -> None:
    shown = Row("HTTP", "req/s", Bar(2, "nginx"), samples={OURS: [3, 4, 50], "nginx": [1, 2, 20]})
    shown.missing["chp"] = "not installed"
    assert table.render([shown]).splitlines() == [
        "| measure      | tmppool |  nginx |           chp | ratio        | bar         |        |",
        "|--------------|--------:|-------:|--------------:|--------------|-------------|--------|",
        "| HTTP [req/s] |    4.00 |   2.00 | not installed | 2.50 x nginx | ≥ 2 x nginx | pass   |",
    ]


@pytest.mark.parametrize(
    ("bar", "verdict"),
    [(Bar(1), "pass"), (Bar(2), "MISSED"), (Bar(1, at_least=False), "pass"), (Bar(1, "nginx"), "not judged")],
)
def test_a_row_is_held_against_its_bar(bar: Bar, verdict: str) -> None:
    assert row(1, bar=bar).verdict == verdict


def test_the_faults_stand_in_lines_and_the_questions_in_columns() -> None:
    measured = {"a: b: lost": (0, "sessions"), "a: b: full again": (3.25, "s"), "c: leaked": (2, "things")}
    rows = [Row(name, unit, samples={OURS: [value]}) for name, (value, unit) in measured.items()]
    assert chaos.table(rows).splitlines()[2:] == ["| a: b | 0 |  |  |  | 3.2 s |", "| c |  |  | 2 |  | never |"]


# The command line


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["speed"], "'speed' is no measure: there are http-parsers, http,"),
        (["--rounds=0"], "--rounds is 1 to 20, --seconds 1 to 30"),
        (["--write", "http"], "--write goes with one of the measures security and chaos alone, in full"),
        (["--write", "--quick", "security"], "--write goes with one of the measures security and chaos alone, in full"),
    ],
)
def test_a_wrong_word_is_refused_with_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main._parse(words)
    assert sentence in capsys.readouterr().err
