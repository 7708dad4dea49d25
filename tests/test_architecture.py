"""The house stands: imports go down only, functions stay small and plain, each module has its test file."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tmppool"
TESTS = ROOT / "tests"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("providers",),
    (
        "errors",
        "keys",
        "jupyter_urls",
        "clocks",
        "backoff",
        "tasks",
        "running",
        "input_wait",
        "pool_settings",
        "ledger_file",
        "incidents",
        "head_limit",
        "environment",
        "questions",
        "retries",
        "image_documents",
    ),
    ("jupyter", "starts", "document_index", "config", "build_report", "recipes", "state_dir"),
    ("notebook",),
    ("policy", "backends", "ledger_rows"),
    ("marks", "build_image", "ledger_store"),
    ("pool",),
    ("pools", "reconcile"),
    ("proxy", "ledger", "metrics", "log"),
    ("sessions",),
    ("web", "timers", "recovery", "leaving", "from_settings", "audit"),
    ("backend_choice", "check_links"),
    ("app",),
    ("__main__",),
)
"""A room may import from the layers below it, and from itself where it is a package."""

INNER_LAYERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "check_links": (("text", "files"), ("judge",), ("asking", "configurations", "report"), ("command",)),
    "proxy": (
        ("faults", "target", "timeouts", "cookies", "frame_watch", "watchdog", "rare_warning"),
        ("wire", "upstream", "forwarded", "connection_timer", "linger", "read_pause"),
        ("connection_counts", "body", "head_readers", "headers", "handshake", "refusals", "page", "page_policy"),
        ("fairness", "response", "route", "application"),
        ("exchange", "tunnel", "connection_context"),
        ("connection",),
        ("accept",),
    ),
    "web": (
        ("hosts", "links"),
        ("authorization", "robots", "peer_links", "pages", "session_ends", "listener", "waiting_line"),
        ("own_cookies", "start_limits", "tickets", "repositories", "embedding", "snippets", "pasted"),
        ("tokens", "lock", "login", "stream_starts"),
        ("models", "addresses"),
        ("kinds", "visit", "openapi", "health"),
        ("verdict", "refusals"),
        ("judge", "context", "answers"),
        ("edge", "enter", "spawn_request", "admin", "preview"),
        ("launch", "session", "claim", "api", "middleware", "peer_redirects", "build", "home", "embed_page"),
        ("routes",),
    ),
}
"""The layers inside of a room: its modules import downwards too."""

ONLY = {
    "config": {"app", "backend_choice", "from_settings", "__main__"},
    "pool_settings": {"config", "app", "from_settings"},
    "recipes": {"build_image", "app", "__main__"},
    "build_image": {"app", "__main__"},
}
"""Rooms that nobody else may know."""

FOREIGN = {"aiodocker": {"backends.engine"}}
"""Libraries that one module alone may import: the rest of the house knows its words only."""

WITHOUT_TESTS = {
    "errors": "types only",
    "incidents": "types only; test_log.py logs each of them",
    "backends/base": "types only; contract.py tests what they promise",
    "pool_settings": "tested as part of test_config.py, whose settings these are",
    "backends/auditable": "types only; tests/audit/test_startup.py tests who offers it",
    "audit/rule": "types only",
    "web/verdict": "types only; test_judge.py gives each of them",
    "web/context": "tested as part of test_session.py, whose handlers find their verdict by it",
    "audit/inside/outcome": "the words of the probes, tested with each of them",
    "proxy/connection_context": "types only",
    "proxy/faults": "types only; test_refusals.py knows the response to each",
    "ledger_file": "tested as part of test_ledger.py, whose files these are",
    "ledger_rows": "tested as part of test_ledger.py, whose rows these are",
    "ledger_store": "tested as part of test_ledger.py, whose file this keeps",
    "build_report": "tested as part of test_build_image.py, whose builds it reports",
}
"""Modules that have no test file of their own, and why."""

MAX_FUNCTION = 50  # lines
MAX_BRANCHES = 8  # ways through one function, as McCabe counts them; pyproject.toml has the same for ruff
QUESTIONS = ("What", "Who", "Whether", "Which", "How")
"""Words that a docstring does not begin with: it states what a thing is or does."""

BRANCHING: frozenset[str] = frozenset()
"""Functions that may still have more ways through them. This list only shrinks."""

INNER_LAYER_OF = {
    f"{room}.{module}": number
    for room, layers in INNER_LAYERS.items()
    for number, modules_there in enumerate(layers)
    for module in modules_there
}
LAYER_OF = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}


# The checker


def modules(package: Path) -> dict[str, ast.Module]:
    """Every module by its dotted name below the package; a package's own code is ``name.__init__``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imported(module: str, tree: ast.Module, known: set[str]) -> Iterator[str]:
    """What a module imports of the package, wherever in the file, as dotted names of modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = ["tmppool", *module.split(".")][: -node.level] if node.level else []
            base = ".".join([*home, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "tmppool":
                yield _module_of(parts[1:], known)


def _module_of(parts: list[str], known: set[str]) -> str:
    """The longest known module that the name begins with: the rest are names in it."""
    for end in range(len(parts), 0, -1):
        for name in (".".join(parts[:end]), ".".join([*parts[:end], "__init__"])):
            if name in known:
                return name
    return "__init__"


def arrows(package: Path) -> set[tuple[str, str]]:
    trees = modules(package)
    return {
        (name, other) for name, tree in trees.items() for other in imported(name, tree, set(trees)) if other != name
    }


def wrong_imports(package: Path) -> list[str]:
    """Each import that does not go down, as a sentence."""
    found = []
    for name, other in sorted(arrows(package)):
        room, below = name.split(".")[0], other.split(".")[0]
        if below == "__init__":
            continue
        if room == below and "." in name:
            if name in INNER_LAYER_OF and INNER_LAYER_OF.get(other, -1) >= INNER_LAYER_OF[name]:
                found.append(f"{name} -> {other}: not downwards")
            continue
        if room not in LAYER_OF or below not in LAYER_OF:
            found.append(f"{name} -> {other}: no layer is known for it")
        elif LAYER_OF[below] >= LAYER_OF[room]:
            found.append(f"{name} -> {other}: not downwards")
        elif room not in ONLY.get(below, {room}):
            found.append(f"{name} -> {other}: only {' and '.join(sorted(ONLY[below]))} may")
    return found


def cycles(package: Path) -> list[tuple[str, ...]]:
    graph: dict[str, set[str]] = {}
    for name, other in arrows(package):
        graph.setdefault(name, set()).add(other)
    found = []

    def walk(path: tuple[str, ...]) -> None:
        for other in sorted(graph.get(path[-1], ())):
            if other == path[0]:
                found.append(path)
            elif other not in path and other > path[0]:
                walk((*path, other))

    for name in sorted(graph):
        walk((name,))
    return found


def made_tasks(package: Path) -> list[str]:
    """Where a task is made other than by ``tasks.spawn``."""
    found = []
    for name, tree in modules(package).items():
        for node in ast.walk(tree):
            called = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if called in ("create_task", "ensure_future") and name != "tasks":
                found.append(f"{name}:{node.lineno}")
    return found


def long_functions(package: Path) -> list[str]:
    return [
        f"{name}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for name, tree in modules(package).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= MAX_FUNCTION
    ]


FORKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)


def branching_functions(package: Path) -> list[str]:
    """The functions with too many ways through them; a function inside another counts on its own."""
    return [
        f"{name}.{node.name}: {ways} ways"
        for name, tree in modules(package).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (ways := ways_through(node)) > MAX_BRANCHES
    ]


def ways_through(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """McCabe's number: one, and one more for each fork of statements."""
    ways, waiting = 1, list[ast.AST](function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        ways += isinstance(node, FORKS)
        waiting += ast.iter_child_nodes(node)
    return ways


def asking_docstrings(package: Path) -> list[str]:
    """The docstrings that begin with a word of a question."""
    return [
        f"{name}: {text.splitlines()[0]}"
        for name, tree in modules(package).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (text := ast.get_docstring(node) or "").split(" ")[0] in QUESTIONS
    ]


# The house


def test_imports_go_downwards_only() -> None:
    assert wrong_imports(PACKAGE) == []


def test_no_module_is_in_an_import_cycle() -> None:
    assert cycles(PACKAGE) == []


def test_every_room_has_a_floor_and_every_floor_has_its_rooms() -> None:
    rooms = {name.split(".")[0] for name in modules(PACKAGE)} - {"__init__"}
    assert rooms == set(LAYER_OF)


@pytest.mark.parametrize("library", FOREIGN)
def test_a_library_that_one_module_may_know_is_known_to_no_other(library: str) -> None:
    knows = {
        name
        for name, tree in modules(PACKAGE).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and library in {(getattr(node, "module", None) or alias.name).partition(".")[0] for alias in node.names}
    }
    assert knows == FOREIGN[library]


def test_no_room_asks_a_backend_which_one_it_is() -> None:
    """What only some backends offer is an interface with a name, such as ``Auditable``."""
    found = [
        f"{name}:{node.lineno}"
        for name, tree in modules(PACKAGE).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("isinstance", "issubclass")
        and any(backend in ast.unparse(node) for backend in ("DockerBackend", "ProcessBackend", "FakeBackend"))
    ]
    assert found == []


@pytest.mark.parametrize("room", INNER_LAYERS)
def test_every_module_of_a_room_with_inner_floors_has_one(room: str) -> None:
    names = {name for name in modules(PACKAGE) if name.startswith(f"{room}.") and not name.endswith("__init__")}
    assert names == {name for name in INNER_LAYER_OF if name.startswith(f"{room}.")}


CORE = {"notebook", "policy", "marks", "pool", "pools", "reconcile"}


def test_the_core_does_not_log() -> None:
    """It states transitions and incidents, of which listeners make lines."""
    found = {
        name
        for name, tree in modules(PACKAGE).items()
        for node in ast.walk(tree)
        if name in CORE and isinstance(node, ast.Import | ast.ImportFrom)
        if {(getattr(node, "module", None) or alias.name).partition(".")[0] for alias in node.names}
        & {"structlog", "logging"}
    }
    assert found == set()


def test_tasks_are_made_in_one_place() -> None:
    assert made_tasks(PACKAGE) == []


def test_what_must_not_be_cut_short_is_completed() -> None:
    """``tasks.completed`` is the one word for it; a bare shield lets go of work that nobody awaits any more."""
    found = {
        name
        for name, tree in modules(PACKAGE).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "shield"
    }
    assert found <= {"tasks"}


def test_no_function_is_long() -> None:
    assert long_functions(PACKAGE) == []


def test_no_function_has_many_ways_through_it() -> None:
    assert [found for found in branching_functions(PACKAGE) if found.split(":")[0] not in BRANCHING] == []


def test_ruff_bounds_the_ways_through_scripts_and_tests_alike() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["ruff"]["lint"]["mccabe"]["max-complexity"] == MAX_BRANCHES


def test_docstrings_state() -> None:
    assert asking_docstrings(PACKAGE) == []


MIRRORED = [
    name.replace(".", "/")
    for name in modules(PACKAGE)
    if not name.endswith("__init__") and name.replace(".", "/") not in WITHOUT_TESTS
]


@pytest.mark.parametrize("module", MIRRORED)
def test_each_module_has_its_test_file(module: str) -> None:
    folder, _, name = module.rpartition("/")
    wanted = TESTS / folder / f"test_{name.strip('_')}.py"
    assert wanted.is_file(), f"{wanted.relative_to(ROOT)} is missing"


def test_every_module_without_tests_exists() -> None:
    assert [name for name in WITHOUT_TESTS if not (PACKAGE / f"{name}.py").is_file()] == []


# The checker itself fails when it should


def make(folder: Path, files: dict[str, str]) -> Path:
    package = folder / "tmppool"
    for name, text in {"__init__.py": "", "errors.py": "", "pool.py": "", "config.py": "", **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


UPWARD = ["notebook -> pool: not downwards"]


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        pytest.param({"notebook.py": "from tmppool.errors import E\nfrom tmppool import errors"}, [], id="downward"),
        pytest.param({"notebook.py": "from tmppool.pool import Pool"}, UPWARD, id="upward"),
        pytest.param({"notebook.py": "import tmppool.pool"}, UPWARD, id="upward, plain import"),
        pytest.param({"notebook.py": "from tmppool import pool"}, UPWARD, id="upward, from the package"),
        pytest.param({"notebook.py": "from . import pool"}, UPWARD, id="upward, relative"),
        pytest.param({"notebook.py": "from .pool import Pool"}, UPWARD, id="upward, relative with name"),
        pytest.param({"notebook.py": "def f():\n    from tmppool.pool import Pool"}, UPWARD, id="inside a function"),
        pytest.param(
            {"notebook.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tmppool.pool import Pool"},
            UPWARD,
            id="under TYPE_CHECKING",
        ),
        pytest.param(
            {"pools.py": "from tmppool.config import Settings"},
            ["pools -> config: only __main__ and app and backend_choice and from_settings may"],
            id="the settings",
        ),
        pytest.param({"app.py": "from tmppool.config import Settings"}, [], id="the settings, by app"),
        pytest.param(
            {"ledger.py": "import tmppool.log", "log.py": ""}, ["ledger -> log: not downwards"], id="sideways"
        ),
        pytest.param(
            {"web/__init__.py": "", "web/a.py": "from tmppool.web.b import B", "web/b.py": ""},
            [],
            id="inside a package",
        ),
        pytest.param(
            {"proxy/__init__.py": "", "proxy/wire.py": "import tmppool.proxy.faults", "proxy/faults.py": ""},
            [],
            id="down the stairs of a room",
        ),
        pytest.param(
            {"proxy/__init__.py": "", "proxy/wire.py": "import tmppool.proxy.body", "proxy/body.py": ""},
            ["proxy.wire -> proxy.body: not downwards"],
            id="up the stairs of a room",
        ),
        pytest.param(
            {"notebook.py": "from tmppool.cellar import X", "cellar.py": ""},
            ["notebook -> cellar: no layer is known for it"],
            id="a room without layer",
        ),
    ],
)
def test_an_import_that_does_not_go_down_is_found(tmp_path: Path, files: dict[str, str], wrong: list[str]) -> None:
    assert wrong_imports(make(tmp_path, files)) == wrong


def test_a_cycle_is_found(tmp_path: Path) -> None:
    web = {"web/__init__.py": "", "web/a.py": "import tmppool.web.b", "web/b.py": "def f():\n    from . import c"}
    assert cycles(make(tmp_path, {**web, "web/c.py": "from tmppool.web.a import A"})) == [("web.a", "web.b", "web.c")]


def test_a_long_function_is_found(tmp_path: Path) -> None:
    package = make(tmp_path, {"pools.py": "async def f():\n" + "    x = 1\n" * MAX_FUNCTION})
    assert long_functions(package) == ["pools.f: 51 lines"]


@pytest.mark.parametrize(
    ("body", "ways"),
    [
        ("pass", 1),
        ("if a:\n        pass\n    elif b:\n        pass\n    else:\n        pass", 3),
        ("for a in b:\n        while c:\n            pass", 3),
        ("try:\n        pass\n    except A:\n        pass\n    except B:\n        pass", 3),
        ("match a:\n        case 1:\n            pass\n        case _:\n            pass", 3),
        ("return [a if a else b for a in c]", 1),  # an expression is one way
        ("def g():\n        if a:\n            pass", 1),
    ],
)
def test_the_ways_through_a_function_are_counted(body: str, ways: int) -> None:
    (function,) = ast.parse(f"def f():\n    {body}").body
    assert isinstance(function, ast.FunctionDef)
    assert ways_through(function) == ways


def test_a_function_with_many_ways_through_it_is_found(tmp_path: Path) -> None:
    package = make(tmp_path, {"pools.py": "def f():\n" + "    if x:\n        pass\n" * MAX_BRANCHES})
    assert branching_functions(package) == [f"pools.f: {MAX_BRANCHES + 1} ways"]


@pytest.mark.parametrize("word", QUESTIONS)
def test_a_docstring_that_asks_is_found(tmp_path: Path, word: str) -> None:
    text = f'"""{word} it is."""\nclass C:\n    """Whatever."""\n    def f():\n        """{word} goes."""'
    assert asking_docstrings(make(tmp_path, {"pools.py": text})) == [f"pools: {word} it is.", f"pools: {word} goes."]


@pytest.mark.parametrize(
    "text",
    ["asyncio.create_task(x)", "loop.create_task(x)", "from asyncio import ensure_future as e\nensure_future(x)"],
)
def test_a_task_made_elsewhere_is_found(tmp_path: Path, text: str) -> None:
    line = len(text.splitlines())
    assert made_tasks(make(tmp_path, {"pools.py": text})) == [f"pools:{line}"]
    assert made_tasks(make(tmp_path, {"pools.py": "", "tasks.py": text})) == []
