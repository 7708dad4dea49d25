"""Who asks without a person: known by what browsers and crawlers say of themselves."""

import pytest
from multidict import CIMultiDict

from tests.web.guests import Place
from tmppool.web import robots

AHEAD = [
    ("Sec-Purpose", "prefetch"),
    ("sec-purpose", "PREFETCH"),
    ("Sec-Purpose", "prefetch;prerender"),
    ("Sec-Purpose", "prefetch; anonymous-client-ip"),
    ("Sec-Purpose", "Prerender"),
    ("Purpose", "prefetch"),
    ("Purpose", " Prefetch "),
    ("X-Purpose", "preview"),
    ("x-purpose", "prefetch, preview"),
    ("X-Moz", "prefetch"),
    ("X-MOZ", "Prefetch"),
]
CRAWLERS = [
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Twitterbot/1.0",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "WhatsApp/2.19.81 A",
    "TelegramBot (like TwitterBot)",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; Jakarta Commons-HttpClient/3.1 +http://www.linkedin.com)",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
    "CCBot/2.0 (https://commoncrawl.org/faq/)",
    "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)",
    "Mozilla/5.0 (compatible;PetalBot;+https://webmaster.petalsearch.com/site/petalbot)",
]
PEOPLE = [
    "",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; CUBOT X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/21.0 Chrome/110.0.5481.154 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126 Mobile Safari/537.36 Telegram-Android/10.14.5",
    "Lynx/2.9.0 libwww-FM/2.14",
    "w3m/0.5.3+git",
    "python-requests/2.32",
    "curl/8.0",
    "Python/3.11 aiohttp/3.14",
]


@pytest.mark.parametrize(("name", "value"), AHEAD)
def test_a_browser_that_fetches_ahead_says_so_in_one_of_these_ways(name: str, value: str) -> None:
    assert robots.is_prefetch(CIMultiDict({name: value}))
    assert robots.is_prefetch(CIMultiDict([(name, "other"), (name, value)]))


@pytest.mark.parametrize(
    "fields", [{}, {"Purpose": "learning"}, {"Sec-Purpose": "prefetched"}, {"X-Other": "prefetch"}]
)
def test_what_is_asked_for_now_is_not_ahead(fields: dict[str, str]) -> None:
    assert not robots.is_prefetch(CIMultiDict(fields))


@pytest.mark.parametrize("name", CRAWLERS)
def test_a_crawler_is_known_by_its_name(name: str) -> None:
    assert robots.is_crawler(CIMultiDict({"User-Agent": name}))


@pytest.mark.parametrize("name", PEOPLE)
def test_a_persons_browser_and_a_persons_tool_are_no_crawlers(name: str) -> None:
    assert not robots.is_crawler(CIMultiDict({"User-Agent": name}))


def test_who_pressed_a_button_is_no_crawler() -> None:
    assert not robots.is_crawler(CIMultiDict({"User-Agent": CRAWLERS[0], "Sec-Fetch-User": "?1"}))
    assert robots.is_crawler(CIMultiDict({"User-Agent": CRAWLERS[0], "Sec-Fetch-User": "?0"}))


def test_only_the_beginning_of_a_name_is_looked_at() -> None:
    assert not robots.is_crawler(CIMultiDict({"User-Agent": "x" * 512 + CRAWLERS[0]}))
    assert robots.is_crawler(CIMultiDict({"User-Agent": CRAWLERS[0] + "x" * 8000}))


# In the service


@pytest.mark.parametrize(("name", "value"), AHEAD)
async def test_what_a_browser_asks_ahead_takes_nothing_and_is_asked_again(place: Place, name: str, value: str) -> None:
    person = place.person()
    page = await person.get("/lab")
    fields = page.form()
    for path in (fields.pop("action"), "/api/spawn"):
        ahead = await person.ask("POST", path, {name: value, "Sec-Fetch-Site": "same-origin"}, data=fields)
        assert ahead.status == 503
        assert ahead.headers["Cache-Control"] == "no-store"
    assert (await place.stats())["assigned"] == 0
    assert (await person.press(page)).status == 303  # the ticket was not used up


@pytest.mark.parametrize("name", CRAWLERS)
async def test_a_crawler_that_presses_gets_a_page_for_people_and_no_notebook(place: Place, name: str) -> None:
    crawler = place.person(User_Agent=name)
    for _ in range(5):
        answer = await crawler.click("/lab/tree/a.ipynb")
        assert answer.status == 403
        assert "for people" in answer.text
        assert "data-auto" not in answer.text
    assert (await place.stats())["assigned"] == 0
    assert (await crawler.press(answer, Sec_Fetch_User="?1")).status == 303  # a person whose browser looks like one


@pytest.mark.parametrize("method", ["HEAD", "GET", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"])
async def test_nothing_but_a_post_takes_a_notebook(place: Place, method: str) -> None:
    person = place.person()
    ticket = (await person.get("/")).form()["ticket"]
    for path in ("/", f"/?ticket={ticket}", f"/spawn?ticket={ticket}", "/spawn/lab", "/lab/tree/a.ipynb", "/api/spawn"):
        for name in (PEOPLE[1], *CRAWLERS):
            await person.ask(method, path, {"User-Agent": name}, data=f"ticket={ticket}".encode())
    assert (await place.stats())["assigned"] == 0
