"""Every option with any text: settings, or one sentence."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import examples
from tmppool import config
from tmppool.__main__ import parse_options
from tmppool.config import Settings
from tmppool.errors import ConfigError

pytestmark = pytest.mark.corpus

OPTIONS = sorted(Settings.model_fields)
NUMBERS = ["0", "-1", "1e999", "nan", "inf", "-inf", "1_0", "٣", "0x1", "9" * 30, "1.5", " 1", "10g", "1g1", "9" * 5000]
WORDS = ["", " ", "none", "null", "true", "{}", "[]", "{", '{"a": 1}', ",", "::1", "a:b", "/", "//", "\\", "{base_path}", "{", "\udcff", "a\nb", "\u2028"]  # fmt: skip

# No NUL: no word of a command line holds one.
texts = st.text(st.characters(min_codepoint=1), max_size=20) | st.sampled_from(NUMBERS) | st.sampled_from(WORDS)


def check(error: ConfigError, *given: str) -> None:
    """It is one sentence; control characters may stand in it only as they were given."""
    text = str(error)
    assert text
    assert {letter for letter in text if not letter.isprintable()} <= set("".join(given)), text
    assert len(text) < 20_000


@pytest.mark.parametrize("name", OPTIONS)
@given(text=texts)
@examples(15)
def test_an_option_with_any_text_is_taken_or_refused_with_one_sentence(name: str, text: str) -> None:
    try:
        assert isinstance(config.load({name: text}), Settings)
    except ConfigError as error:
        check(error, text)


@given(values=st.dictionaries(st.sampled_from(OPTIONS), texts, max_size=3))
@examples(150)
def test_a_variable_with_any_text_is_taken_or_refused_with_one_sentence(values: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, text in values.items():
            variable = f"TMPPOOL_{name}".upper() if not name.endswith("auth_token") else name.upper()
            patch.setenv(variable, text.encode(errors="ignore").decode())
        try:
            assert isinstance(config.load({}), Settings)
        except ConfigError as error:
            check(error, *values.values())


names = st.sampled_from([*OPTIONS, "pools.x", "pools.x.image", "pools", "a-b", "image"])
values = st.sampled_from(["1", "-1", "1.5", "nan", "true", '""', '"a\\u0000"', "[]", "[1]", "{}", "{a = 1}", "1979-05-27", '"' + "x" * 300 + '"'])  # fmt: skip
lines = st.builds("{} = {}".format, names, values) | st.text(max_size=20) | st.sampled_from(["[pools]", "[pools.x]", "[[pools]]"])  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("toml") / "settings.toml"


@given(text=st.lists(lines, max_size=4).map("\n".join).map(lambda text: text.encode(errors="surrogatepass")) | st.binary(max_size=60))  # fmt: skip
@examples(300)
def test_a_file_with_anything_in_it_is_taken_or_refused_with_one_sentence(file: Path, text: bytes) -> None:
    file.write_bytes(text)
    try:
        assert isinstance(config.load({"config": str(file)}), Settings)
    except ConfigError as error:
        check(error)


words = texts | st.builds("--{}={}".format, st.sampled_from([*OPTIONS, *config.RETIRED, "user_length"]), texts) | st.builds("--{}".format, texts | st.sampled_from(OPTIONS))  # fmt: skip


@given(line=st.lists(words, max_size=4).filter(lambda line: not {"--help", "--help-all", "--version", "-h"} & set(line)))  # fmt: skip
@examples(150)
def test_a_command_line_of_any_words_is_read_or_refused_with_one_sentence(line: list[str]) -> None:
    try:
        assert set(parse_options(line)) <= set(OPTIONS)
    except ConfigError as error:
        check(error, *line)
