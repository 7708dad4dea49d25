"""The one grammar of keys."""

import re
from pathlib import Path

import pytest

from tmppool import keys

PACKAGE = Path(keys.__file__).parent
OLD = "Zk3v_9-aQ0xT7bYc1LmN4w"  # as every version so far has made them
PATTERN = re.compile(rf"^/user/({keys.GRAMMAR})(/.*)?$")


@pytest.mark.parametrize(
    "text", [OLD, "a" * 16, "a" * 128, "-" * 16, f"north.{OLD}", f"eu-1.{OLD}", f"{'c' * 32}.{'a' * 128}"]
)
def test_old_keys_and_those_of_a_cell_are_keys(text: str) -> None:
    assert keys.is_key(text)
    found = PATTERN.match(f"/user/{text}/lab")
    assert found is not None
    assert found[1] == text


@pytest.mark.parametrize(
    "text",
    [
        "", "a" * 15, "a" * 129, f"{OLD}\n", f" {OLD}", f"{OLD}=", f"{OLD}/", f"{OLD}%2E", f".{OLD}", f"North.{OLD}",
        f"eu_1.{OLD}", f"a.b.{OLD}", f"..{OLD}", f"{'c' * 33}.{OLD}", "north.", f"{OLD}.", f"ключ.{OLD}", "north.short",
    ],
)  # fmt: skip
def test_nothing_else_is_a_key(text: str) -> None:
    assert not keys.is_key(text)
    assert re.fullmatch(keys.GRAMMAR, text) is None


def test_the_grammar_captures_nothing() -> None:
    assert re.compile(keys.GRAMMAR).groups == 0


@pytest.mark.parametrize("nbytes", [12, 16, 65, 96])
@pytest.mark.parametrize("cell", [None, "north", "eu-1"])
def test_a_new_key_is_one_and_never_the_same(nbytes: int, cell: str | None) -> None:
    made = {keys.new(nbytes, cell) for _ in range(100)}
    assert len(made) == 100
    assert all(keys.is_key(key) for key in made)
    assert all(key.startswith("" if cell is None else f"{cell}.") for key in made)


@pytest.mark.parametrize(("nbytes", "cell"), [(11, None), (97, None), (16, ""), (16, "North"), (16, "a.b"), (16, "a/")])
def test_what_would_be_no_key_is_refused(nbytes: int, cell: str | None) -> None:
    with pytest.raises(ValueError, match=r"is not a cell's name|do not make a key"):
        keys.new(nbytes, cell)


def test_no_key_is_longer() -> None:
    longest = f"{'c' * 32}.{'k' * 128}"
    assert (keys.is_key(longest), len(longest)) == (True, keys.LONGEST)
    assert not keys.is_key(f"c{longest}")
    assert not keys.is_key(f"{longest}k")


def test_an_id_is_short_stable_and_tells_keys_apart() -> None:
    names = {keys.id_of(f"key-{number}") for number in range(1000)}
    assert len(names) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{10}", name) for name in names)
    assert keys.id_of("key-1") == keys.id_of("key-1")


def test_no_other_module_spells_the_grammar() -> None:
    spelt = re.compile(r"A-Za-z0-9_-\]\{(?:1[0-9]|2[0-9]),|/user/[\\(]*\[|session/[\\(]*\[")
    others = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".js", ".html", ".json")]
    assert len(others) > 50
    found = [str(path) for path in others if path.name != "keys.py" and spelt.search(path.read_text(encoding="utf-8"))]
    assert found == []
