"""What is said of a link to the service is what a person finds who follows it."""

import random
from itertools import product
from urllib.parse import quote, urljoin

from tests.check_links.test_asking import unheard
from tests.web.guests import Answer, Place
from tmppool.check_links import asking
from tmppool.check_links.judge import Judge, Subject
from tmppool.check_links.text import Finder

FORMS = (
    "{}",
    "/spawn{}",
    "/hub/user-redirect{}",
    "/v2/gh/org/book/main?urlpath={}",
    "/v2/gh/org/book/main?labpath={}",
    "/v2/gh/o/r/main?filepath={}",
    "/services/binder/v2/gh/org/book/main?urlpath={}",
    "/hub/login?next={}",
    "/hub/lti/launch?next=/hub/user-redirect{}",
    "/hub/user-redirect/git-pull?repo=https://github.com/org/book&urlpath={}",
    "/github/org/book/blob/main{}",
    "/build/gh/org/book/main?urlpath={}",
)
PAGES = ("/", "/notebooks/", "/lab/tree/", "/doc/tree/", "/files/", "/lab/", "/nbclassic/", "/lab/workspaces/w/tree/")
DOCUMENTS = (
    "intro.ipynb",
    "my%20file.ipynb",
    "week 1/plots.ipynb",
    "week%201%2Fplots.ipynb",
    "docs/plots.ipynb",
    "book/docs/plots.ipynb",
    "none.ipynb",
    "Intro.ipynb",
    "intro%2Eipynb",
    "intro.ipynb/",
    "/intro.ipynb",
    "x/../intro.ipynb",
    "../intro.ipynb",
    "intro.ipynb?x=1&pool=r",
    "intro.ipynb?pool=none",
    "intro.ipynb%23Part",
    "notes.md",
    "data.csv",
    "%zz.ipynb",
    "gr\u00f6\u00dfe.ipynb",
    "%FF.ipynb",
    "",
)
ENCODINGS = ("/%?&=:", "/", "")  # characters that are left as they are
SAMPLES = 500
BAD = (Subject.DOCUMENT, Subject.POOL, Subject.ADDRESS)


def targets() -> list[str]:
    chosen = random.Random(1)
    every = list(product(FORMS, PAGES, DOCUMENTS, ENCODINGS))
    return [form.format(quote(page + name, safe=safe)) for form, page, name, safe in chosen.sample(every, SAMPLES)]


async def followed(place: Place, target: str) -> Answer:
    """Return what a person sees in the end."""
    person, answer = place.person(), None
    for _ in range(6):
        answer = await person.ask("GET", target)
        if answer.status not in (303, 308):
            break
        target = urljoin(target, answer.location).partition("#")[0]
    assert answer is not None
    await person.session.close()
    return answer


async def test_a_link_is_called_wrong_if_it_is_for_who_follows_it(service: Place) -> None:
    text = "\n".join(f'<a href="{service.url}{target}">' for target in targets())
    links = [*Finder([service.url]).links("page.html", text, is_markup=False)]
    judge = Judge(await asking.ask([service.url], links, [], unheard))
    assert len(links) == SAMPLES
    good = 0
    for link in links:
        said = [found.message for found in judge.judge(link) if found.subject in BAD]
        page = await followed(service, link.target)
        assert (page.status < 400) is (not said), (link.target, page.title, said)
        good += not said
    assert SAMPLES / 5 < good < SAMPLES * 4 / 5
    assert (await service.stats())["assigned"] == 0
