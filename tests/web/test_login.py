"""The login by which an app's requests pass Jupyter."""

from typing import Any

import pytest

from tmppool.errors import BackendError
from tmppool.web.login import Login


class Jupyter:
    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def log_in(self, host: str) -> list[str]:
        self.asked.append(host)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)


@pytest.mark.parametrize(
    ("cookies", "pairs"),
    [
        (['username-h="2|1:0|a="; expires=Mon, 01 Jan 2029 00:00:00 GMT; HttpOnly; Path=/user/k/'], b'username-h="2|1:0|a="'),
        (["a=1; Path=/", "_xsrf=2", "b=3"], b"a=1; b=3"),
        (["tmppool=1", "__Host-tmppool-0=1", "a b=c", "c=\u20ac"], b"c=?"),
        ([f"c{number}=1" for number in range(100)], b"c0=1; c1=1; c2=1; c3=1"),
        ([], b""),
    ],
)  # fmt: skip
async def test_the_cookies_of_a_login_are_kept_without_a_pages(cookies: list[str], pairs: bytes) -> None:
    jupyter = Jupyter(cookies)
    login = Login(jupyter, "h:1")  # type: ignore[arg-type]
    for _ in range(2):
        await login.fetch()
        assert login.cookies == pairs
    assert jupyter.asked == ["h:1"]


async def test_without_an_answer_it_is_asked_for_again() -> None:
    login = Login(Jupyter(BackendError("away"), ["a=1"]), "h")  # type: ignore[arg-type]
    await login.fetch()
    assert login.cookies is None
    await login.fetch()
    assert login.cookies == b"a=1"
