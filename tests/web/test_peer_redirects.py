"""Links of other services lead to the launch page, and a look at one takes nothing."""

import re
from typing import Any
from urllib.parse import quote

import pytest

from tests.web.guests import Place
from tmppool.notebook import Reason
from tmppool.pool_settings import PoolSettings, RepositorySettings
from tmppool.pools import Ended

ROWS = (
    RepositorySettings(name="gh/o/book", pool="r", directory="book", prefix="docs"),
    RepositorySettings(name="gh/o/*"),
)
PULL = "/hub/user-redirect/git-pull?repo=https%3A%2F%2Fgithub.com%2Fo%2Fr&urlpath=lab%2Ftree%2Fr%2Fa.ipynb"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("raw", "location"),
    [
        ("/v2/gh/o/r/main?urlpath=lab%2Ftree%2Fa.ipynb", "/lab/tree/a.ipynb"),
        ("/v2/gh/o/r/main?amp;urlpath=lab%2Ftree%2Fa.ipynb", "/lab/tree/a.ipynb"),
        ("/v2/gl/o%2Fr/main?filepath=a.ipynb", "/tree/a.ipynb"),
        ("/v2/gh/o/r/undefined", "/"),
        ("/v2/gh/o/book/main?labpath=docs/a.ipynb", "/doc/tree/book/a.ipynb?pool=r"),
        ("/v2/gh/o/r/main?urlpath=lab&code=monday", "/lab?code=monday"),
        ("/v2/gh/o/book/main?labpath=docs/a.ipynb%23One&code=x", "/doc/tree/book/a.ipynb?pool=r&code=x#One"),
        ("/services/binder/v2/gh/o/r/main?urlpath=lab&code=x", "/v2/gh/o/r/main?urlpath=lab&code=x"),
        ("/binder/repo/o/r/notebooks/a.ipynb", "/repo/o/r/notebooks/a.ipynb"),
        ("/services/b%69nder/", "/"),
        ("/binder?pool=r", "/?pool=r"),
        ("/hub/login?next=/services/binder/v2/gh/o/r/main%3Furlpath=lab", "/lab"),
        ("/hub/user-redirect/lab/tree/a.ipynb", "/lab/tree/a.ipynb"),
        ("/hub/user-redirect/git-pull?repo=https://github.com/o/r&urlpath=lab/tree/r/a.ipynb", "/lab/tree/a.ipynb"),
        ("/hub/login?next=%2Fhub%2Fuser-redirect%2Flab%2Ftree%2Fa%2520b.ipynb%3Fx%3D1", "/lab/tree/a%20b.ipynb?x=1"),
        ("/hub/spawn?next=%2Fhub%2Fuser-redirect%2Flab%2Ftree%2Fa.ipynb", "/lab/tree/a.ipynb"),
        (f"/hub/lti/launch?next={quote(PULL, safe='')}", "/lab/tree/a.ipynb"),
        ("/hub/lti/launch", "/"),
        ("/hub/login?next=/hub/lti/launch%3Fnext=/lab", "/lab"),
        ("/hub/spawn/me?x=1&amp;next=/user/me/lab/tree/a.ipynb", "/lab/tree/a.ipynb"),
        ("/hub/login?next=%2Fhub%2Fspawn%2Fme%3Fnext%3D%252Fhub%252Fuser%252Fme%252Ftree%252Fa", "/tree/a"),
        ("/hub/login?next=/v2/gh/o/book/main%3Flabpath=docs/a.ipynb", "/doc/tree/book/a.ipynb?pool=r"),
        ("/hub/login?next=https://elsewhere.example/lab/tree/a.ipynb", "/"),
        ("/hub/login?next=//elsewhere.example/lab/tree/a.ipynb", "/"),
        ("/hub/login?next=/%5Celsewhere.example/lab", "/"),
        ("/hub/login?next=lab", "/"),
        ("/hub/login?next=/spawn/dashboard%3Fx=1", "/spawn/dashboard?x=1"),
        ("/hub/login?next=/spawn/lab/tree/a.ipynb", "/lab/tree/a.ipynb"),
        ("/hub/spawn?next=%2Fspawn%3Fpool%3Dr", "/?pool=r"),
        ("/hub/login?next=%2F%3Fpool%3Dr", "/?pool=r"),
        ("/hub/login?next=/spawner", "/"),
        ("/hub/login?next=/lab/../../x", "/"),
        ("/hub/login?next=/session/k/end", "/"),
        ("/hub/login?" + "next=/hub/login?" * 400, "/"),
        ("/hub/login?next=%2Fhub%2Fhome", "/hub/home"),
        ("/h%75b/login?next=/hub/", "/hub/home"),
        ("/hub/login?next=%2Fhub%2Fhome2", "/"),
        ("/hub/login?next=/%2568ub/home", "/hub/home"),
        ("/hub/login?next=/%2576%2532/gh/o/r/main?urlpath=lab%252Fx", "/lab/x"),
        ("/hub/login?next=/%2568ub/%2575ser/me/l%2561b/x", "/lab/x"),
        ("/hub/login?next=/%2568ub/spawn?next=/lab", "/lab"),
        ("/hub/spawn?next=%2Fhub%2Fhome", "/"),
        ("/hub/", "/hub/home"),
        ("/hub", "/hub/home"),
        ("/user-redirect/tree", "/tree"),
        ("/github/o/r/blob/main/a.ipynb", "/tree/a.ipynb"),
        ("/repo/o/r/notebooks/a.ipynb", "/notebooks/a.ipynb"),
        ("/%76%32/gh/o/r/m%61in?urlpath=lab%2Ftree%2Fa.ipynb", "/lab/tree/a.ipynb"),
        ("/re%70o/o/r/notebooks/a.ipynb", "/notebooks/a.ipynb"),
        ("/git%68ub/o/r/blob/main/a.ipynb", "/tree/a.ipynb"),
        ("/hub/user%2Dredirect/lab/tree/a%20b.ipynb", "/lab/tree/a%20b.ipynb"),
        ("/user%2dredirect/x", "/spawn/x"),
        ("/h%75b/spawn", "/"),
        ("/h%75b/login", "/"),
        ("/v2/gh/o/r/main?urlpath=lab&code=a%2Bb%26c%25%23", "/lab?code=a%2Bb%26c%25%23"),
        ("/v2/gh/o/r/main?code=%0d%0aX: y".replace(" ", "%20"), "/?code=%0D%0AX%3A%20y"),
        ("/v2/gh/o/r/main?code=%00%ff", "/?code=%00%EF%BF%BD"),
        ("/v2/gh/o/r/main?code=a%26pool%3Dr", "/?code=a%26pool%3Dr"),
        ("/v2/gh/o/r/main?urlpath=lab%3Fpool%3Dr%26x%3D1", "/lab?x=1"),
        ("/v2/gh/o/book/main?urlpath=lab%3Fpool%3Dother", "/lab/tree/book?pool=r"),
        ("/hub/user-redirect/lab?pool=r", "/lab?pool=r"),
        ("/hub/user-redirect/lab?x=1&code=a%20b", "/lab?x=1&code=a%20b"),
        ("/repo/o/r/notebooks/a.ipynb?code=x", "/notebooks/a.ipynb?code=x"),
        ("/hub/login?next=/lab%3Fcode%3Dx&code=y", "/lab?code=y"),
        ("/hub/login?next=/lab%3Fcode%3Dx", "/lab?code=x"),
    ],
)
async def test_a_link_leads_to_the_launch_page_and_takes_nothing(
    open_place: Any, method: str, raw: str, location: str
) -> None:
    place = await open_place(pools={"r": PoolSettings(pool_size=1)}, repositories=ROWS)
    before = await place.stats()
    answer = await place.person().ask(method, raw)
    assert (answer.status, answer.location) == (303, location)
    assert answer.headers["Cache-Control"] == "no-store"
    assert (await place.person().ask(method, location.partition("#")[0])).status in (200, 303)
    assert await place.stats() == before


@pytest.mark.parametrize(
    ("badge", "location"),
    [
        # usethis, R/badge.R: use_binder_badge
        ("v2/gh/r-lib/usethis/main", "/"),
        ("v2/gh/r-lib/usethis/master?urlpath=rstudio", "/spawn/rstudio"),
        ("v2/gh/r-lib/usethis/main?urlpath=shiny", "/spawn/shiny"),
        # Quarto, src/core/container.ts: binderUrl
        ("v2/gh/Notebooks-Now/submission-quarto-lite/HEAD", "/"),
        ("v2/gh/Notebooks-Now/submission-quarto-lite/HEAD?labpath=article.ipynb", "/doc/tree/article.ipynb"),
        ("v2/gh/Notebooks-Now/submission-quarto-lite/HEAD?labpath=docs/article.ipynb", "/doc/tree/docs/article.ipynb"),
        ("v2/gh/Notebooks-Now/submission-quarto-lite/HEAD?urlpath=vscode", "/spawn/vscode"),
        ("v2/gh/o/r/HEAD?labpath=article.ipynb&urlpath=rstudio", "/doc/tree/article.ipynb"),
    ],
)
async def test_badges_as_usethis_and_quarto_write_them_work_with_another_host_name(
    place: Place, badge: str, location: str
) -> None:
    text = f"[![Launch binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/{badge})"
    picture, link = re.findall(r"\((http[^)]+)\)", text.replace("https://mybinder.org", place.url))
    person = place.person()
    assert (await person.get(picture)).headers["Content-Type"].startswith("image/svg+xml")
    answer = await person.get(link)
    assert (answer.status, answer.location) == (303, location)
    assert (await person.click(location)).status == 303


@pytest.mark.parametrize(
    ("rest", "location"),
    [
        ("/lab/tree/a.ipynb", "/lab/tree/a.ipynb"),
        ("/?pool=r", "/?pool=r"),
        ("?pool=r", "/?pool=r"),
        ("/hub/user-redirect/lab/tree/a%20b.ipynb?x=1", "/lab/tree/a%20b.ipynb?x=1"),
        ("/user/me/tree/a", "/tree/a"),
        ("/hub/home", "/hub/home"),
        ("//elsewhere.example/lab", "/"),
        ("\\@elsewhere.example/lab", "/"),
        (".elsewhere.example/lab", "/"),
        ("@elsewhere.example/lab", "/"),
        ("", "/"),
    ],
)
async def test_the_next_page_may_be_a_whole_url_of_the_service(open_place: Any, rest: str, location: str) -> None:
    place: Place = await open_place(pools={"r": PoolSettings(pool_size=1)})
    answer = await place.person().get(f"/hub/login?next={quote(place.url + rest, safe='')}")
    assert (answer.status, answer.location) == (303, location)


@pytest.mark.parametrize(
    ("raw", "status", "words"),
    [
        ("/v2/bb/o/r/main", 400, "no provider of repositories"),
        ("/v2/gh/o", 400, "names no repository"),
        ("/v2", 400, "The link names no repository."),
        ("/v2/gh/o/r/main?urlpath=../../etc/passwd", 400, "leads out of the notebook&#39;s home"),
        ("/v2/gh/p/r/main", 404, "no notebooks for the repository gh/p/r"),
    ],
)
async def test_a_link_that_leads_nowhere_says_why(open_place: Any, raw: str, status: int, words: str) -> None:
    place: Place = await open_place(repositories=ROWS[1:], unknown_repositories="refuse")
    page = await place.person().ask("GET", raw)
    assert (page.status, words in page.text) == (status, True), page.text
    said = await place.program().ask("GET", raw)
    assert (said.status, words.replace("&#39;", "'") in said.json["message"]) == (status, True)


@pytest.mark.parametrize(
    ("raw", "plain", "detail"),
    [
        ("/v2/bb/o/r/main", "There is a mistake in this link.", "&#39;bb&#39; is no provider of repositories"),
        ("/v2/gh/p/r/main", "This link leads to notebooks that are not offered here.", "gh/p/r."),
    ],
)
async def test_a_reader_of_a_wrong_link_is_told_what_to_do_before_what_its_author_has_to_know(
    open_place: Any, raw: str, plain: str, detail: str
) -> None:
    place: Place = await open_place(repositories=ROWS[1:], unknown_repositories="refuse")
    page = await place.person().get(raw)
    before, mark, after = page.text.partition('<p class="small">For the author: ')
    assert f"<p>{plain} Nothing has been started. Please tell the author of the page where you found it.</p>" in before
    assert (mark != "", detail in after, detail in before) == (True, True, False)


@pytest.mark.parametrize(
    ("path", "name"), [("/versions", "binderhub"), ("/hub/api", "version"), ("/hub/api/", "version")]
)
async def test_a_page_of_any_site_finds_out_which_links_are_taken(place: Place, path: str, name: str) -> None:
    answer = await place.program().ask("GET", path, {"Origin": "https://docs.example"})
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "+tmppool." in answer.json[name]


@pytest.mark.parametrize("prefix", ["/services/binder", "/binder"])
async def test_what_a_page_asks_of_a_hubs_binderhub_is_asked_here(place: Place, prefix: str) -> None:
    page = place.program(Origin="https://docs.example")
    for path in ("/versions", "/health", "/badge.svg", "/badge_logo.svg", "/build/gh/o/r/main"):
        answer = await page.get(prefix + path)
        assert (answer.status, answer.location) == (303, path)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    asked = await page.ask("OPTIONS", f"{prefix}/build/gh/o/r/main", {"Access-Control-Request-Method": "GET"})
    assert (asked.status, asked.headers["Access-Control-Allow-Origin"]) == (204, "*")
    for path in ("/x", "//elsewhere.example", "/user/k/lab", "/v22", "/versionsx"):
        answer = await page.get(prefix + path)
        assert (answer.status, "Location" in answer.headers) == (404, False), path


async def test_a_server_that_is_gone_is_started_anew_with_the_same_document(open_place: Any) -> None:
    place: Place = await open_place(pools={"r": PoolSettings(pool_size=1)})
    person = place.person()
    for pool, more in (("tmppool", ""), ("r", "&pool=r")):
        key = await person.start(f"/lab?pool={pool}")
        place.pools.remember(key, Ended(Reason.IDLE, 0.0, pool))
        page = f"{place.url}/user/{key}/lab/tree/a%20b.ipynb?x=1"
        answer = await person.get("/hub/spawn", Referer=page)
        assert (answer.status, answer.location) == (303, f"/lab/tree/a%20b.ipynb?x=1{more}")
        answer = await person.get("/hub/spawn", Referer=f"{page}&token=abc")
        assert answer.location == f"/lab/tree/a%20b.ipynb?x=1{more}", "a token is for one notebook"
    ended = f"{place.url}/user/{key}/"
    for below in ("lab/../../x", "lab\\x", "a b", '"><x', "%00", "%zz", "/x", "a\x80", "x" * 8000):
        answer = await person.get("/hub/spawn", Referer=ended + below)
        assert answer.location in ("/", "/?pool=r"), below
    assert (await person.get("/hub/login", Referer=f"http://elsewhere.example/user/{key}/lab")).location == "/"
    for other in ("https://elsewhere.example/", f"{place.url}/user/k/lab", "nonsense"):
        assert (await person.get("/hub/spawn", Referer=other)).location == "/"
