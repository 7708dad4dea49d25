"""The base image's script with real pacstrap, pacman and engine, on a small repository of our own."""

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.archlinux.repository import ROOT, Repository, run

pytestmark = [pytest.mark.arch, pytest.mark.engine, pytest.mark.timeout(300)]

SCRIPT = ROOT / "images/archlinux/mkimage-arch.sh"
MACHINE = platform.machine()
OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}
KEYRING = "etc/pacman.d/gnupg"


class Bench:
    """Where one test runs the script; what it leaves can be seen."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self.repository = repository
        self.folder = folder
        self.work = folder / "work"
        self.cache = folder / "cache"
        self.out = folder / "out"
        for path in (self.work, self.out):
            path.mkdir()
        self.environ = {**os.environ, "TMPDIR": str(self.work)}

    def command(self, *options: str) -> list[str]:
        usual = {"mirror": self.repository.mirror.as_uri(), "keyring": self.repository.keyring, "cache": self.cache}
        given = {option[2:].partition("=")[0] for option in options}
        return [str(SCRIPT), *(f"--{name}={value}" for name, value in usual.items() if name not in given), *options]

    def run(self, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options), env={**self.environ, **environ}, capture_output=True, text=True, check=False
        )

    def makes(self, *options: str, **environ: str) -> str:
        """Return the last line of a run that succeeds."""
        done = self.run(*options, **environ)
        assert done.returncode == 0, done.stderr
        assert self.leftovers() == []
        return done.stdout.strip()

    def fails(self, *options: str, **environ: str) -> str:
        """Return the sentence of a run that fails, and leaves nothing."""
        return self.sentence(self.run(*options, **environ))

    def sentence(self, done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode in (1, 2), done.stderr
        assert done.stdout == ""
        assert self.leftovers() == []
        assert list(self.out.iterdir()) == []
        assert not self.cache.exists()
        return done.stderr.splitlines()[-1]

    def leftovers(self) -> list[str]:
        """Files, mounts and processes that know of the place where the script works."""
        place = str(self.work)
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{place}/mkimage" in line]
        return [*map(str, self.work.iterdir()), *mounts, *self.processes()]

    def processes(self) -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                root = str((path / "root").readlink())
            except OSError:
                continue
            if f"{self.work}/mkimage" in command + root:
                found.append(f"{path.name}: {command}")
        return found


@pytest.fixture
def bench(repository: Repository, tmp_path: Path) -> Bench:
    return Bench(repository, tmp_path)


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)])
    try:
        yield
    finally:
        run(["umount", str(path)])


def contents(path: Path) -> dict[str, tuple[object, ...]]:
    """All that a tar says, by name."""
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(path) as tar:
        for entry in tar:
            file = tar.extractfile(entry) if entry.isreg() else None
            content = hashlib.sha256(file.read()).hexdigest() if file else entry.linkname
            found[entry.name.removeprefix("./")] = (entry.type, entry.mode, entry.uid, entry.gid, entry.mtime, content)
    return found


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def built(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base image's file system as a tar file, made once; the keyring is kept beside it."""
    bench = Bench(repository, tmp_path_factory.mktemp("built"))
    output = bench.out / "arch.tar"
    assert bench.makes(f"--output={output}", f"--cache={bench.out}/cache") == str(output)
    return output


def test_the_same_packages_give_the_same_bytes(bench: Bench, built: Path) -> None:
    again = bench.out / "again.tar"
    bench.environ["TZ"] = "Asia/Tokyo"
    umask = os.umask(0o077)
    try:
        assert bench.makes("--output", str(again), "--cache", f"{built.parent}/cache") == str(again)
    finally:
        os.umask(umask)
    assert sha256(again) == sha256(built)
    assert sorted(path.name for path in bench.out.iterdir()) == ["again.tar", "again.tar.packages"]


def test_what_the_image_holds(built: Path, repository: Repository) -> None:
    packages = built.with_name("arch.tar.packages").read_text()
    assert packages == "archlinux-keyring 1.0-1\nsystem 1.0-1\n"
    held = contents(built)
    assert held["usr/lib/mkimage-arch/packages"][-1] == hashlib.sha256(packages.encode()).hexdigest()
    assert max(entry[4] for entry in held.values()) == _newest_build(repository)
    assert held["etc/locale.conf"][4] == _newest_build(repository)
    for name in ("var/log/pacman.log", "etc/passwd-", "var/cache/ldconfig/aux-cache", "etc/resolv.conf"):
        assert name not in held
    assert [name for name in held if name.startswith(("var/lib/pacman/sync/", "dev/", "run/", "tmp/"))] == []


def _newest_build(repository: Repository) -> int:
    dates = []
    for path in repository.mirror.glob("core/os/*/*.zst"):
        facts = run(["bsdtar", "-xOf", str(path), ".PKGINFO"])
        dates += re.findall(r"^builddate = (\d+)$", facts, re.MULTILINE)
    return max(map(int, dates))


def test_only_the_keyring_differs_where_none_is_kept_and_its_master_key_is_nowhere(bench: Bench, built: Path) -> None:
    another = bench.out / "another.tar"
    bench.makes(f"--output={another}")
    first, second = contents(built), contents(another)

    different = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
    assert different
    assert [name for name in different if not name.startswith(f"{KEYRING}/")] == []
    secret = re.compile(r"private-keys|secring|openpgp-revocs|random_seed|/S\.|\.key$|\.lock$")
    assert [name for name in first if name.startswith("etc/pacman.d/") and secret.search(name)] == []
    (kept,) = bench.cache.iterdir()
    assert [name for name in contents(kept) if secret.search(name)] == []


def test_the_image_runs_and_its_pacman_takes_what_the_distribution_signed_and_nothing_else(
    bench: Bench, built: Path
) -> None:
    tag = f"tmppool-test/arch:V{os.getpid()}"
    try:
        assert bench.makes(f"--tag={tag}", f"--cache={built.parent}/cache") == tag
        layers = run(["docker", "image", "inspect", "--format={{.RootFS.Layers}}", tag]).strip()
        assert layers == f"[sha256:{sha256(built)}]"
        inside = ["docker", "run", "--rm", "--network=none"]
        assert run([*inside, tag, "echo", "Success"]) == "Success\n"
        assert run([*inside, tag, "cat", "/usr/lib/mkimage-arch/packages"]).split() == [
            "archlinux-keyring",
            "1.0-1",
            "system",
            "1.0-1",
        ]
        assert "en_US.utf8\n" in run([*inside, tag, "locale", "-a"])
        assert run([*inside, tag, "sh", "-c", "echo $LANG"]) == "en_US.UTF-8\n"

        mirror = f"--volume={bench.repository.mirror}:{bench.repository.mirror}:ro"
        pacman = "pacman --sync --refresh --noconfirm"
        assert (
            run([*inside, mirror, tag, "sh", "-c", f"{pacman} hello >/dev/null && hello"]) == "Hello from a package.\n"
        )
        refused = subprocess.run(
            [*inside, mirror, tag, "sh", "-c", f"{pacman} forged"], capture_output=True, text=True, check=False
        )
        assert refused.returncode == 1
        assert "required key missing from keyring" in refused.stderr
        config = f"sed 's/^SigLevel.*/SigLevel = Never/' /etc/pacman.conf >/tmp/conf; {pacman} --config /tmp/conf"
        assert (
            run([*inside, mirror, tag, "sh", "-c", f"{config} forged >/dev/null; forged"]) != ""
        )  # it is only the key
    finally:
        subprocess.run(["docker", "image", "rm", "--force", tag], capture_output=True, check=False)


@pytest.mark.parametrize(
    ("package", "why"),
    [
        ("forged", "required key missing from keyring"),
        ("altered", 'altered: signature from "Distribution <distribution@tmppool.example>" is invalid'),
        ("unsigned", f"failed retrieving file 'unsigned-1.0-1-{MACHINE}.pkg.tar.zst.sig'"),
    ],
)
def test_a_wrong_signature_is_refused(bench: Bench, package: str, why: str) -> None:
    sentence = bench.fails(f"--packages=bash,{package}", f"--output={bench.out}/no.tar")
    assert sentence.startswith(f"mkimage-arch: could not install packages from {bench.repository.mirror.as_uri()}: ")
    assert why in sentence


def test_keys_of_somebody_else_are_not_enough(bench: Bench, tmp_path: Path) -> None:
    keyring = tmp_path / "keyring"
    shutil.copytree(bench.repository.keyring, keyring)
    (keyring / "archlinux-trusted").write_text("")
    sentence = bench.fails(f"--keyring={keyring}", f"--output={bench.out}/no.tar")
    assert re.search(r"signature from .* is unknown trust", sentence)


KILLED = [
    (signal.SIGKILL, "read the distribution's keys", False),
    (signal.SIGKILL, "install packages", False),
    (signal.SIGKILL, "install packages", True),
    (signal.SIGKILL, "initialise the image's keyring", False),
    (signal.SIGKILL, "pack ", False),
    (signal.SIGTERM, "install packages", False),
    (signal.SIGINT, "install packages", True),
    (signal.SIGHUP, "read the distribution's keys", True),
]


@pytest.mark.parametrize(("number", "step", "whole_group"), KILLED)
def test_killed_in_the_middle_it_leaves_no_mount_no_file_and_no_process(
    bench: Bench, number: signal.Signals, step: str, *, whole_group: bool
) -> None:
    # Whoever runs the tests may have started them deaf to some signals, as nohup and "&" in a script do.
    hearing = ["env", "--default-signal=HUP,INT,TERM", *bench.command(f"--output={bench.out}/no.tar")]
    with subprocess.Popen(
        hearing,
        env=bench.environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if f"s  {step}" in line:
                break
        time.sleep(0.3)  # into it
        assert bench.processes()
        (os.killpg if whole_group else os.kill)(process.pid, number)
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode in (-number, 128 + number)
    if number != signal.SIGKILL:
        # pacman may have brought the cursor back on the same line.
        assert said.endswith("mkimage-arch: ended by a signal; nothing is left behind\n")
    until(lambda: bench.leftovers() == [])
    assert list(bench.out.iterdir()) == []


SLOW = """#!/bin/sh
{tool} "$@" || exit
case "$*" in
    *-xpf*rootfs.tar | *.part) touch {reached}; sleep 60 ;;
esac
"""


@pytest.mark.parametrize(
    ("target", "number"), [("output", signal.SIGKILL), ("rootfs", signal.SIGKILL), ("rootfs", signal.SIGTERM)]
)
def test_what_is_half_delivered_goes_when_it_is_killed(
    bench: Bench, built: Path, tmp_path: Path, target: str, number: signal.Signals
) -> None:
    tools, reached = tmp_path / "bin", tmp_path / "reached"
    tools.mkdir()
    for name in ("cp", "tar"):
        (tools / name).write_text(SLOW.format(tool=shutil.which(name), reached=reached))
        (tools / name).chmod(0o755)
    place = {"output": bench.out / "no.tar", "rootfs": bench.out}[target]
    command = bench.command(f"--{target}={place}", f"--cache={built.parent}/cache")
    environ = {**bench.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    hearing = ["env", "--default-signal=TERM", *command]
    with subprocess.Popen(hearing, env=environ, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        until(lambda: reached.exists() or process.poll() is not None, seconds=120)
        assert list(bench.out.iterdir()) != []
        os.killpg(process.pid, number)
        assert process.wait(60) in (-number, 128 + number)
    until(lambda: bench.leftovers() == [])
    assert list(bench.out.iterdir()) == []


def until(is_so: Callable[[], bool], seconds: int = 20) -> None:
    for _ in range(seconds * 10):
        if is_so():
            return
        time.sleep(0.1)
    assert is_so()


def test_a_place_to_work_in_may_have_any_name(bench: Bench, built: Path) -> None:
    bench.work = bench.folder / "R&D | the 'new' disk"
    bench.work.mkdir()
    output = bench.out / "a.tar"
    assert bench.makes(f"--output={output}", f"--cache={built.parent}/cache", TMPDIR=str(bench.work)) == str(output)
    assert sha256(output) == sha256(built)


def test_an_image_that_cannot_be_named_does_not_stay(bench: Bench, built: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    docker = f'#!/bin/sh\n[ "$1" != tag ] || exit 1\n[ "$1" != import ] || exec {tmp_path}/import "$@"\nexec {shutil.which("docker")} "$@"\n'
    (tools / "docker").write_text(docker)
    (tmp_path / "import").write_text(f'#!/bin/sh\n{shutil.which("docker")} "$@" | tee {tmp_path}/id\n')
    for path in (tools / "docker", tmp_path / "import"):
        path.chmod(0o755)
    done = bench.run("--tag=no", f"--cache={built.parent}/cache", PATH=f"{tools}:{os.environ['PATH']}")
    assert bench.sentence(done) == "mkimage-arch: the engine could not name the image no"
    image = (tmp_path / "id").read_text().strip()
    assert subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(("part", "step"), [(0.3, "install packages from"), (1.7, "pack 2 packages")])
def test_a_full_disk_is_said(bench: Bench, built: Path, part: float, step: str) -> None:
    with small_disk(bench.work, int(part * built.stat().st_size)):
        done = bench.run(f"--output={bench.out}/no.tar", f"--cache={built.parent}/cache")
        sentence = bench.sentence(done)
    assert sentence.startswith(f"mkimage-arch: could not {step}")
    assert re.search("no space is left in|not enough free disk space", sentence), sentence


def test_a_full_disk_at_the_target_is_said(bench: Bench) -> None:
    with small_disk(bench.out, 50 << 20):
        done = bench.run(f"--output={bench.out}/no.tar")
        assert list(bench.out.iterdir()) == []
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"mkimage-arch: --output: {bench.out}/no.tar could not be written"
    assert bench.leftovers() == []


def test_a_mirror_that_is_not_there_is_said(bench: Bench) -> None:
    sentence = bench.fails("--mirror=http://127.0.0.1:9", f"--output={bench.out}/no.tar")
    assert sentence.startswith(
        "mkimage-arch: could not install packages from http://127.0.0.1:9: failed retrieving file 'core.db' from"
    )


def test_a_package_that_is_not_there_is_said(bench: Bench) -> None:
    sentence = bench.fails("--packages=bash no-such-package", f"--output={bench.out}/no.tar")
    assert "target not found: no-such-package" in sentence


MISTAKES = [
    (["--bogus"], 2, "--bogus is not an option (--help tells more)"),
    (["--mirror"], 2, "--mirror needs a value (--help tells more)"),
    (["--tag="], 2, "--tag needs a value (--help tells more)"),
    (["--arch=m68k"], 2, "--arch: 'm68k' is not known; x86_64 and aarch64 are (--help tells more)"),
    (["--tag=No Image"], 2, "--tag: 'No Image' is no name of an image (--help tells more)"),
    (["--tag=a//b"], 2, "--tag: 'a//b' is no name of an image (--help tells more)"),
    (["--tag=a:"], 2, "--tag: 'a:' is no name of an image (--help tells more)"),
    (["--packages=bash;reboot"], 2, "--packages: 'bash;reboot' is no list of package names (--help tells more)"),
    (["--packages=bash --root /"], 2, "--packages: 'bash --root /' is no list of package names (--help tells more)"),
    (
        ["--mirror=/srv/mirror"],
        2,
        "--mirror: '/srv/mirror' is no URL; it begins with https://, http://, ftp:// or file:// (--help tells more)",
    ),
    (["--output=a", "--rootfs=b"], 2, "--output and --rootfs: only one of them can be had (--help tells more)"),
    (["--output=/nowhere/a.tar"], 1, "--output: there is no directory /nowhere"),
    (["--output=/usr"], 1, "--output: /usr is a directory"),
    (["--rootfs=/nowhere"], 1, "--rootfs: /nowhere is no directory"),
    (
        ["--keyring=/usr"],
        1,
        "there is no archlinux.gpg in /usr: install archlinux-keyring, or name its directory with --keyring",
    ),
]


@pytest.mark.parametrize(
    ("options", "code", "sentence"), MISTAKES, ids=[" ".join(options) for options, _, _ in MISTAKES]
)
def test_a_mistake_is_one_sentence(bench: Bench, options: list[str], code: int, sentence: str) -> None:
    done = bench.run(*options)
    assert (done.returncode, done.stderr) == (code, f"mkimage-arch: {sentence}\n")
    assert bench.sentence(done)


def test_another_kind_of_machine_needs_its_emulation(bench: Bench) -> None:
    other = OTHER[MACHINE]
    if Path(f"/proc/sys/fs/binfmt_misc/qemu-{other}").exists():
        pytest.skip(f"programs of {other} can run here")
    sentence = f"programs of {other} cannot run on this machine; qemu's user emulation (qemu-user-static) lets them"
    assert bench.fails(f"--arch={other}") == f"mkimage-arch: {sentence}"


def test_a_date_that_is_none(bench: Bench) -> None:
    assert "SOURCE_DATE_EPOCH: 'today' is no number of seconds" in bench.fails(SOURCE_DATE_EPOCH="today")


def test_without_an_engine_it_says_so_before_it_begins(bench: Bench) -> None:
    sentence = bench.fails(DOCKER_HOST="unix:///nowhere.sock")
    assert sentence == (
        "mkimage-arch: no Docker Engine answers at unix:///nowhere.sock; start it, or write a file with --output"
    )


def test_half_built_things_of_an_earlier_run_are_not_built_upon(bench: Bench) -> None:
    rootfs = bench.folder / "rootfs"
    (rootfs / "usr").mkdir(parents=True)
    sentence = bench.fails(f"--rootfs={rootfs}")
    assert sentence == (
        f"mkimage-arch: --rootfs: {rootfs} is not empty, perhaps a half-built system of an earlier run: remove it first"
    )
    assert [path.name for path in rootfs.iterdir()] == ["usr"]


def test_it_finds_its_files_by_a_link_and_whatever_cd_looks_through(bench: Bench) -> None:
    link = bench.folder / "mkimage"
    link.symlink_to(SCRIPT)
    command = [
        "bash",
        str(link),
        "--output=/nowhere/a.tar",
        f"--keyring={bench.repository.keyring}",
        "--mirror=http://m",
    ]
    done = subprocess.run(
        command, env={**bench.environ, "CDPATH": str(bench.folder.parent)}, capture_output=True, text=True, check=False
    )
    assert bench.sentence(done) == "mkimage-arch: --output: there is no directory /nowhere"


def test_only_root_can(bench: Bench, repository: Repository) -> None:
    copy = repository.folder / "archlinux"
    shutil.copytree(SCRIPT.parent, copy, dirs_exist_ok=True)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", str(copy / SCRIPT.name)],
        env=bench.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert bench.sentence(done) == "mkimage-arch: this needs root: run it with sudo"


def test_missing_tools_are_named_with_the_packages_that_hold_them(bench: Bench, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "realpath", "uname", "sed", "xargs", "echo", "env"):
        (tools / name).symlink_to(str(shutil.which(name)))
    sentence = bench.fails(PATH=str(tools))
    assert sentence.startswith(
        "mkimage-arch: not found: pacstrap arch-chroot pacman pacman-key gpg unshare setpriv setsid tar;"
    )
    assert "apt-get install arch-install-scripts pacman-package-manager makepkg archlinux-keyring" in sentence


def test_a_rootfs_for_the_builder(bench: Bench, built: Path) -> None:
    rootfs = bench.work / "rootfs"
    rootfs.mkdir()
    base = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", str(SCRIPT.with_name("base")), str(rootfs)]
    environ = {
        **bench.environ,
        "MIRROR": bench.repository.mirror.as_uri(),
        "KEYRING": str(bench.repository.keyring),
        "CACHE": f"{built.parent}/cache",
        "SUITE": "",
        "SOURCE_DATE_EPOCH": "1700000000",
    }
    done = subprocess.run(base, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {int(path.lstat().st_mtime) for path in (rootfs / "etc").rglob("*")} == {1_700_000_000}
    assert (rootfs / "usr/bin/pacman").is_file()
    assert [path.name for path in bench.work.iterdir()] == ["rootfs"]

    done = subprocess.run(base, env={**environ, "SUITE": "bookworm"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "Arch Linux has no releases, so there is no 'bookworm' of it\n")
