"""Where the home of an image is in a notebook, and where the image's links and variables lead."""

import pytest

from tmppool.backends.home_paths import Copies, Found, Tree, obstacle

COPY = "/home/notebook"
ROOT = Tree("/root", "/root")
DATA = Tree("/home/jovyan", "/data")  # a link
REPO = Tree("/srv/repo", "/srv/repo")
DEEP = Tree("/a/b/c", "/a/b/c")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/jovyan", COPY),
        ("/home/jovyan/x/y", f"{COPY}/x/y"),
        ("/home//jovyan/x", f"{COPY}/x"),
        ("//home/jovyan/x/", f"{COPY}/x"),
        ("/home/jovyan/../jovyan/./x", f"{COPY}/x"),
        ("/opt/../data/priv", f"{COPY}/priv"),
        ("/data", COPY),
        ("/data/../etc", None),
        ("/data2/x", None),
        ("/home", None),
        ("/", None),
        ("/srv/repo/out", f"{COPY}/out"),
        ("/srv", None),
        ("/talks/x", f"{COPY}/talks/x"),
        ("/data/talks/x", f"{COPY}/talks/x"),
    ],
)
def test_an_absolute_path_is_led_to_the_copy_by_whatever_name(path: str, expected: str | None) -> None:
    copies = Copies([(DATA, COPY), (REPO, COPY), (Tree("/talks", "/data/talks"), f"{COPY}/talks")])
    assert copies.moved(path) == expected


@pytest.mark.parametrize(
    ("tree", "name", "target", "expected"),
    [
        (ROOT, "data", "../opt/data", "/opt/data"),
        (ROOT, "data", "..", "/"),
        (ROOT, "a/b/data", "../../x", "../../x"),
        (ROOT, "a/b/data", "../../../x", "/x"),
        (ROOT, "a/data", "../../root/x", f"{COPY}/x"),
        (ROOT, "a/data", f"../../{COPY[6:]}/x", f"/{COPY[6:]}/x"),
        (ROOT, "a/data", "./.././/x", "./.././/x"),
        (ROOT, "a/data", "b/../../..", "/"),
        (ROOT, "data", "/opt/../etc", "/opt/../etc"),
        (ROOT, "data", "/root//x", f"{COPY}/x"),
        (ROOT, "data", "a..b/...", "a..b/..."),
        (DATA, "data", "../opt", "/opt"),  # the link's own place is in the real directory
        (DATA, "data", "../data/x", f"{COPY}/x"),
        (DATA, "data", "../home/jovyan/x", f"{COPY}/x"),
        (DEEP, "data", "../../../srv/repo/x", f"{COPY}/x"),
        (REPO, "data", "../../a/b/c/x", f"{COPY}/x"),
        (REPO, "data", "../data", "/srv/data"),
    ],
)
def test_a_link_leads_where_it_leads_in_the_image(tree: Tree, name: str, target: str, expected: str) -> None:
    copies = Copies([(each, COPY) for each in (ROOT, DATA, DEEP, REPO)])
    assert copies.link(target, name, tree) == expected


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        ("data", "../me/x", "../me/x"),
        ("a/data", "../../../opt//x", "../../../opt//x"),
        ("data", "/home//me/x", "/home//me/x"),
        ("data", "/opt/../etc", "/opt/../etc"),
        ("data", "/srv/repo/x", "/home/me/x"),
        ("data", "../../srv/repo/x", "/home/me/x"),
    ],
)
def test_a_link_of_a_home_at_its_own_path_stays_unless_it_leads_to_a_copy_elsewhere(
    name: str, target: str, expected: str
) -> None:
    home = Tree("/home/me", "/home/me")
    assert Copies([(home, home.real), (REPO, home.real)]).link(target, name, home) == expected


def found(*paths: str) -> list[Found]:
    return [Found(path, path) for path in paths]


@pytest.mark.parametrize(
    ("home", "volumes", "binds"),
    [
        ("/home/me", [], []),
        ("/root", ["/data"], ["/data", "/root2"]),
        ("/app", ["/app"], ["/app/in"]),
        ("/home", [], []),
        ("/home/me", ["/home", "/home/me", "/home/you", "/home/me/work"], ["/home/me/one", "/home/me/two"]),
        ("/usr/src/app", [], ["/usr/src/lib"]),
        ("/usr/local/home", [], []),
        ("/var/lib/me", [], []),
        ("/var/www", [], []),
        ("/opt/etc", [], []),
        ("/librarian", [], []),
    ],
)
def test_notebooks_have_their_home_at_the_path_of_the_images(home: str, volumes: list[str], binds: list[str]) -> None:
    assert obstacle(Found(home, home, (0o755, 0o711)), found(*volumes), found(*binds)) == ""


@pytest.mark.parametrize(
    ("home", "said"),
    [
        ("/tmp", "/tmp"),
        ("/tmp/home", "/tmp"),
        ("/var", "/var/lib/tmppool"),
        ("/var/lib", "/var/lib/tmppool"),
        ("/usr", "/usr/bin"),
        ("/usr/sbin", "/usr/sbin"),
        ("/bin", "/bin"),
        ("/lib64/me", "/lib64"),
        ("/etc/me", "/etc"),
        ("/dev/shm", "/dev"),
        ("/proc/1", "/proc"),
        ("/sys", "/sys"),
        ("/nix/home", "/nix"),
    ],
)
def test_a_home_among_the_systems_directories_is_elsewhere(home: str, said: str) -> None:
    assert obstacle(Found(home, home), [], []) == f"{said} is the system's"


@pytest.mark.parametrize("home", ["/home/my self", "/home/me:too", "/home/a,b", "/home/tab\there", "/home/\u00e9"])
def test_a_home_whose_path_a_mount_table_has_to_escape_is_elsewhere(home: str) -> None:
    assert obstacle(Found(home, home, (0o755,)), [], []).startswith("there are blanks or special characters")


@pytest.mark.parametrize("modes", [(0o700,), (0o755, 0o750), (0o770, 0o755)])
def test_a_home_below_a_directory_that_not_everybody_may_enter_is_elsewhere(modes: tuple[int, ...]) -> None:
    home = Found("/home/me/in", "/home/me/in", modes)
    assert obstacle(home, [], []) == "not everybody may enter the directory in which it lies"


@pytest.mark.parametrize(
    ("given", "real"),
    [
        ("/home/me/a/b", "/home/me/a/b"),
        ("/alias", "/home/me"),
        ("/alias", "/home"),
        ("/a", "/home/me/a"),
        ("/home/me/link", "/data"),
        ("/home/me/link/deeper", "/data/deeper"),
    ],
)
def test_what_is_mounted_deep_in_the_home_or_by_a_link_about_it_leaves_it_elsewhere(given: str, real: str) -> None:
    home, mounted = Found("/home/me", "/home/me", (0o755,)), [*found("/data"), Found(given, real)]
    why = "is in its way, as it neither lies directly in it nor apart"
    assert obstacle(home, mounted, []) == f"VOLUME {given} {why}"
    assert obstacle(home, [], mounted) == f"{given} of --host-directories {why}"


def test_what_is_mounted_at_a_link_in_a_home_that_is_a_link_leaves_it_elsewhere() -> None:
    """Its path as it is given lies in the home, by the home's own other name."""
    home, mounted = Found("/home/me", "/data/me", (0o755,)), [Found("/home/me/link", "/srv/x")]
    why = "is in its way, as it neither lies directly in it nor apart"
    assert obstacle(home, mounted, []) == f"VOLUME /home/me/link {why}"


@pytest.mark.parametrize("given", ["/home", "/home/me"])
def test_a_directory_that_is_mounted_over_the_home_leaves_it_elsewhere(given: str) -> None:
    why = "is in its way, as it neither lies directly in it nor apart"
    assert obstacle(Found("/home/me", "/home/me"), [], found(given)) == f"{given} of --host-directories {why}"
