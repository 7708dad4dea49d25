"""What a notebook's container is: settings in, the engine's JSON out, against literal tables."""

import hashlib
from dataclasses import fields, replace

import pytest

from tests.specs import spec_of
from tmppool.backends import seccomp
from tmppool.backends.base import DEFAULT_COMMAND, ImageFacts, Spec, options_apart
from tmppool.backends.container import (
    EDITION_LABEL,
    SECRET_LABEL,
    EngineFacts,
    canary_labels,
    container_config,
    container_name,
    edition_id,
    edition_of,
    home_config,
    image_facts,
    labels,
    mount,
    network_config,
    network_name,
    secret_of,
    token_of,
    trial_config,
    volume_labels,
)
from tmppool.errors import BackendError
from tmppool.keys import id_of

KEY = "Zk3-_x9QmT0aB7cD1eF2gH"
MIB = 1 << 20
SPEC = spec_of(service="talks", pool="main", image="tmppool/debian:latest")
IMAGE = ImageFacts(id="sha256:abc", volume="v", home_at="/home/me", below="talks/one")

LAUNCH = (
    'chmod 0700 "$HOME" 2>/dev/null; tar -xopmf /var/lib/tmppool/home.tar -C "$HOME"'
    ' || { echo "tmppool: the home could not be unpacked: tar exited with $?" >&2; exit 73; };'
    ' command -v "$SHELL" >/dev/null 2>&1 || export SHELL=/bin/sh;'
    ' cd "$HOME/$0" 2>/dev/null || cd "$HOME" || exit; exec "$@"'
)
LAUNCH_ANYWAY = (
    'chmod 0700 "$HOME" 2>/dev/null; tar -xopmf /var/lib/tmppool/home.tar -C "$HOME" 2>/dev/null;'
    ' command -v "$SHELL" >/dev/null 2>&1 || export SHELL=/bin/sh;'
    ' cd "$HOME/$0" 2>/dev/null || cd "$HOME" 2>/dev/null; exec "$@"'
)
HOME_MOUNT = {
    "Type": "volume",
    "Source": "v",
    "Target": "/var/lib/tmppool",
    "ReadOnly": True,
    "VolumeOptions": {
        "NoCopy": True,
        "Labels": {"tmppool.service": "talks", "tmppool.pool": "main", "tmppool.volume": "home"},
    },
}

DEFAULT = {
    "Image": "sha256:abc",
    "User": "20007:100",
    "Hostname": "notebook",
    "WorkingDir": "/",
    "Entrypoint": ["/bin/sh", "-c", LAUNCH, "talks/one"],
    "Cmd": [
        "/bin/sh",
        "-c",
        (
            f"jupyter lab --no-browser --ServerApp.base_url=/user/{KEY}/ --ServerApp.ip=127.0.0.1 --ServerApp.port=8888"
            " --ServerApp.port_retries=0 --ServerApp.allow_remote_access=True --ServerApp.trust_xheaders=True"
            " --ServerApp.quit_button=False --ServerApp.shutdown_no_activity_timeout=0"
        ),
    ],
    "Tty": False,
    "OpenStdin": False,
    "Env": [
        "HOME=/home/me",
        "XDG_CACHE_HOME=/home/me/.cache",
        "USER=jovyan",
        "LOGNAME=jovyan",
        "SHELL=/bin/bash",
        "JUPYTER_TOKEN=the-token",
        "OMP_NUM_THREADS=1",
        "OPENBLAS_NUM_THREADS=1",
    ],
    "Healthcheck": {"Test": ["NONE"]},
    "StopSignal": "SIGKILL",
    "Labels": {"tmppool.service": "talks", "tmppool.pool": "main", "tmppool.key": KEY, "tmppool.uid": "20007"},
    "HostConfig": {
        "NetworkMode": "none",
        "Dns": ["127.0.0.1"],
        "Privileged": False,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true", f"seccomp={seccomp.PROFILE}"],
        "ReadonlyRootfs": True,
        "MaskedPaths": [
            "/proc/acpi",
            "/proc/allocinfo",
            "/proc/asound",
            "/proc/bootconfig",
            "/proc/buddyinfo",
            "/proc/bus",
            "/proc/cmdline",
            "/proc/config.gz",
            "/proc/consoles",
            "/proc/crypto",
            "/proc/device-tree",
            "/proc/devices",
            "/proc/diskstats",
            "/proc/dma",
            "/proc/driver",
            "/proc/dynamic_debug",
            "/proc/execdomains",
            "/proc/fb",
            "/proc/fs",
            "/proc/interrupts",
            "/proc/iomem",
            "/proc/ioports",
            "/proc/irq",
            "/proc/kallsyms",
            "/proc/kcore",
            "/proc/key-users",
            "/proc/keys",
            "/proc/kmsg",
            "/proc/kpagecgroup",
            "/proc/kpagecount",
            "/proc/kpageflags",
            "/proc/latency_stats",
            "/proc/lock_stat",
            "/proc/locks",
            "/proc/mdstat",
            "/proc/misc",
            "/proc/modules",
            "/proc/mtrr",
            "/proc/pagetypeinfo",
            "/proc/partitions",
            "/proc/pressure",
            "/proc/sched_debug",
            "/proc/schedstat",
            "/proc/scsi",
            "/proc/slabinfo",
            "/proc/softirqs",
            "/proc/swaps",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/vmallocinfo",
            "/proc/vmcore",
            "/proc/zoneinfo",
            "/sys/devices/virtual/dmi",
            "/sys/devices/virtual/powercap",
            "/sys/firmware",
            "/sys/fs/bpf",
            "/sys/fs/pstore",
            "/sys/hypervisor",
            "/sys/kernel/boot_params",
            "/sys/kernel/btf",
            "/sys/kernel/debug",
            "/sys/kernel/iommu_groups",
            "/sys/kernel/irq",
            "/sys/kernel/notes",
            "/sys/kernel/security",
            "/sys/kernel/slab",
            "/sys/kernel/tracing",
            "/sys/kernel/vmcoreinfo",
            "/sys/module",
            "/sys/power",
        ],
        "ReadonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        "Tmpfs": {
            "/home/me": "rw,exec,nosuid,nodev,size=268435456,nr_inodes=32768,uid=20007,gid=100,mode=0700",
            "/tmp": "rw,exec,nosuid,nodev,size=134217728,nr_inodes=16384,mode=1777",
        },
        "Mounts": [HOME_MOUNT],
        "ShmSize": 64 * MIB,
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "Memory": 1024 * MIB,
        "MemorySwap": 1024 * MIB,
        "PidsLimit": 256,
        "CpuPeriod": 100_000,
        "CpuQuota": 100_000,
        "CpuShares": 64,
        "Ulimits": [
            {"Name": "nofile", "Soft": 4096, "Hard": 4096},
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "memlock", "Soft": 65536, "Hard": 65536},
            {"Name": "sigpending", "Soft": 4096, "Hard": 4096},
            {"Name": "msgqueue", "Soft": 0, "Hard": 0},
        ],
        "OomScoreAdj": 500,
        "OomKillDisable": False,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1048576", "max-file": "1"}},
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "PublishAllPorts": False,
        "Init": True,
    },
}


def made(facts: ImageFacts = IMAGE, /, **changed: object) -> dict[str, object]:
    spec = replace(SPEC, **changed)
    return container_config(spec, KEY, "the-token", facts, uid=20_007 if spec.user is None else None)


def with_host(**changed: object) -> dict[str, object]:
    return {**DEFAULT, "HostConfig": {**DEFAULT["HostConfig"], **changed}}


def without_host(*names: str) -> dict[str, object]:
    return {**DEFAULT, "HostConfig": {key: value for key, value in DEFAULT["HostConfig"].items() if key not in names}}


def ulimits(**changed: int) -> list[dict[str, object]]:
    found = [dict(limit) for limit in DEFAULT["HostConfig"]["Ulimits"]]
    for limit in found:
        most = changed.get(limit["Name"], limit["Soft"])
        limit.update(Soft=most, Hard=most)
    return found


def tmpfs(**changed: str) -> dict[str, str]:
    found = dict(DEFAULT["HostConfig"]["Tmpfs"])
    home, tmp = "/home/me", "/tmp"
    for path, old, new in ((home, "size=268435456", "home_size"), (home, "nr_inodes=32768", "home_inodes"),
                           (tmp, "size=134217728", "tmp_size"), (tmp, "nr_inodes=16384", "tmp_inodes")):  # fmt: skip
        assert old in found[path]
        found[path] = found[path].replace(old, changed.get(new, old))
    return found


def test_the_default_container() -> None:
    assert made() == DEFAULT


def test_the_container_of_the_line_that_iqss_ran() -> None:
    command = (
        'start-notebook.sh "--NotebookApp.base_url={base_path} --ip=0.0.0.0 --port={port}'
        ' --NotebookApp.token=\\"\\" --NotebookApp.trust_xheaders=True"'
    )
    expected = with_host(CpuQuota=50_000)
    expected["Image"] = "NAME"
    expected["Cmd"] = [
        "/bin/sh",
        "-c",
        (
            f"start-notebook.sh --NotebookApp.base_url=/user/{KEY}/ --ip=0.0.0.0 --port=8888"
            " --NotebookApp.token= --NotebookApp.trust_xheaders=True"
        ),
    ]
    assert made(replace(IMAGE, id=""), image="NAME", command=command, cpu_quota=50_000) == expected


def test_a_container_on_an_isolated_bridge_listens_to_it_and_asks_nobody_for_names() -> None:
    found = made(network="isolated")
    assert found["HostConfig"] == {**DEFAULT["HostConfig"], "NetworkMode": "tmppool-talks-isolated"}
    assert "--ServerApp.ip=0.0.0.0 " in found["Cmd"][2]


def test_a_container_on_a_bridge_to_the_internet_listens_to_it_and_may_ask_for_names() -> None:
    found = made(network="bridge")
    assert found["HostConfig"] == {**without_host("Dns")["HostConfig"], "NetworkMode": "tmppool-talks-bridge"}
    assert "--ServerApp.ip=0.0.0.0 " in found["Cmd"][2]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param({"memory": 512 * MIB}, with_host(Memory=512 * MIB, MemorySwap=512 * MIB), id="memory, no swap"),
        pytest.param({"cpu_quota": None}, without_host("CpuQuota"), id="no quota"),
        pytest.param({"cpu_shares": None}, without_host("CpuShares"), id="no shares"),
        pytest.param({"cpu_quota": 50_000}, with_host(CpuQuota=50_000), id="quota"),
        pytest.param({"cpu_shares": 7}, with_host(CpuShares=7), id="shares"),
        pytest.param({"pids": 99}, with_host(PidsLimit=99), id="pids"),
        pytest.param({"nofile": 99}, with_host(Ulimits=ulimits(nofile=99)), id="open files"),
        pytest.param({"memlock": 99}, with_host(Ulimits=ulimits(memlock=99)), id="locked memory"),
        pytest.param({"sigpending": 99}, with_host(Ulimits=ulimits(sigpending=99)), id="waiting signals"),
        pytest.param({"home_size": 99}, with_host(Tmpfs=tmpfs(home_size="size=99")), id="home, bytes"),
        pytest.param({"home_inodes": 99}, with_host(Tmpfs=tmpfs(home_inodes="nr_inodes=99")), id="home, files"),
        pytest.param({"tmp_size": 99}, with_host(Tmpfs=tmpfs(tmp_size="size=99")), id="tmp, bytes"),
        pytest.param({"tmp_inodes": 99}, with_host(Tmpfs=tmpfs(tmp_inodes="nr_inodes=99")), id="tmp, files"),
        pytest.param({"shm_size": 99}, with_host(ShmSize=99), id="shared memory"),
        pytest.param(
            {"log_size": 99},
            with_host(LogConfig={"Type": "json-file", "Config": {"max-size": "99", "max-file": "1"}}),
            id="log",
        ),
        pytest.param({"oom_score": 99}, with_host(OomScoreAdj=99), id="whom the kernel ends first"),
        pytest.param({"runtime": "runsc"}, with_host(Runtime="runsc"), id="runtime"),
        pytest.param(
            {"binds": ("/data:/data:ro", "/talks:/talks")},
            with_host(
                Mounts=[
                    HOME_MOUNT,
                    {"Type": "bind", "Source": "/data", "Target": "/data", "ReadOnly": True},
                    {"Type": "bind", "Source": "/talks", "Target": "/talks", "ReadOnly": False},
                ]
            ),
            id="binds",
        ),
        pytest.param({"extra_hosts": ("db:10.0.0.5",)}, with_host(ExtraHosts=["db:10.0.0.5"]), id="hosts"),
    ],
)
def test_each_limit_is_one_setting(changed: dict[str, object], expected: dict[str, object]) -> None:
    assert made(**changed) == expected


def test_a_volume_of_the_image_is_no_disk_without_a_limit() -> None:
    """Where a tmpfs would hide files it is read-only, except above mount points that the engine must create."""
    image = replace(
        IMAGE, volumes=("/data", "/empty", "/home", "/home/me/in", "/tmp", "/var", "/bound"), empty=("/empty",)
    )
    tmp = tmpfs()["/tmp"].replace("mode=1777", "uid=20007,gid=100,mode=0700")
    digest = hashlib.blake2s(b"/data", digest_size=4).hexdigest()
    options = {"Labels": {"tmppool.service": "talks", "tmppool.pool": "main", "tmppool.volume": "home"}}
    assert made(image, binds=("/here:/bound",)) == with_host(
        Tmpfs={**tmpfs(), "/empty": tmp, "/home": tmp, "/home/me/in": tmpfs()["/home/me"], "/var": tmp},
        Mounts=[
            HOME_MOUNT,
            {"Type": "bind", "Source": "/here", "Target": "/bound", "ReadOnly": False},
            HOME_MOUNT | {"Source": f"v-{digest}", "Target": "/data", "VolumeOptions": options},
        ],
    )


def test_an_image_with_an_init_of_its_own_gets_no_second_one() -> None:
    found = made(replace(IMAGE, entrypoint=("tini", "-g", "--")))
    assert found["HostConfig"] == without_host("Init")["HostConfig"]


@pytest.mark.parametrize(
    ("entrypoint", "has_init"),
    [
        (("/usr/bin/tini", "--", "start.sh"), True),
        (("tini-static",), True),
        (("/bin/sh", "-c", "exec /usr/local/bin/dumb-init -- start.sh"), True),
        (("catatonit", "-P"), True),
        ((), False),
        (("start.sh",), False),
        (("/opt/martini/start.sh", "--no-tini"), False),
    ],
)
def test_which_entrypoints_bring_an_init(entrypoint: tuple[str, ...], has_init: bool) -> None:  # noqa: FBT001
    assert replace(IMAGE, entrypoint=entrypoint).has_init is has_init


def test_an_entrypoint_that_is_left_out_brings_no_init() -> None:
    words = ("tini", "--", "jupyter-lab")
    assert made(replace(IMAGE, entrypoint=(), program=words))["HostConfig"]["Init"] is True


@pytest.mark.parametrize(
    ("changed", "shell"),
    [
        ({}, "SHELL=/bin/bash"),
        ({"shell": "/bin/zsh"}, "SHELL=/bin/zsh"),
        ({"shell": "/home/me/bin/xonsh", "env": ("SHELL=/home/x/bin/xonsh",)}, "SHELL=/home/x/bin/xonsh"),
    ],
    ids=["none", "the image's", "one in the image's home, whose copy counts"],
)
def test_the_shell_is_the_images_own(changed: dict[str, object], shell: str) -> None:
    found = [pair for pair in made(replace(IMAGE, **changed))["Env"] if pair.startswith("SHELL=")]
    assert found[-1] == shell


def test_every_setting_of_a_spec_is_tried_here_or_decides_something_outside_the_container() -> None:
    (tried,) = (mark for mark in test_each_limit_is_one_setting.pytestmark if mark.name == "parametrize")
    names = {name for parameters in tried.args[1] for name in parameters.values[0]}
    elsewhere = {"service", "pool", "image", "command", "port", "user", "uids", "network", "seccomp", "start_timeout"}
    assert names | elsewhere == {field.name for field in fields(Spec)}


def test_the_rules_for_system_calls_may_be_another_profile_or_the_engines_own() -> None:
    def options(engine: EngineFacts) -> object:
        return container_config(SPEC, KEY, "the-token", IMAGE, engine, uid=20_007)["HostConfig"]["SecurityOpt"]

    assert options(EngineFacts(seccomp="{}")) == ["no-new-privileges:true", "seccomp={}"]
    assert options(EngineFacts(seccomp=None)) == ["no-new-privileges:true"]


def test_where_the_kernel_has_that_knob_nothing_is_swapped_out() -> None:
    found = container_config(SPEC, KEY, "the-token", IMAGE, EngineFacts(has_swappiness=True), uid=20_007)
    assert found == with_host(MemorySwappiness=0)


@pytest.mark.parametrize(("user", "uid"), [(None, None), ("1000:100", 20_007)])
def test_a_number_of_its_own_or_one_user_for_all_never_both_nor_neither(user: str | None, uid: int | None) -> None:
    with pytest.raises(AssertionError):
        container_config(replace(SPEC, user=user), KEY, "the-token", IMAGE, uid=uid)


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        ("20001:100", "uid=20001,gid=100,mode=0700"),
        ("jovyan", "mode=1777"),
        ("jovyan:users", "mode=1777"),
        ("1000", "mode=1777"),
        ("1000:users", "mode=1777"),
    ],
)
def test_the_home_belongs_to_the_user_where_the_number_is_known(user: str, owner: str) -> None:
    found = made(user=user)
    assert found["User"] == user
    assert "tmppool.uid" not in found["Labels"]
    home = found["HostConfig"]["Tmpfs"]["/home/me"]
    assert home == f"rw,exec,nosuid,nodev,size=268435456,nr_inodes=32768,{owner}"


def test_the_home_belongs_to_a_user_whose_number_the_image_has() -> None:
    mounts = made(replace(IMAGE, owner="1000:100"), user="jovyan")["HostConfig"]["Tmpfs"]
    assert mounts["/home/me"].endswith(",uid=1000,gid=100,mode=0700")


def test_the_home_is_elsewhere_unless_the_image_has_one() -> None:
    found = made(ImageFacts())
    assert "HOME=/home/notebook" in found["Env"]
    assert set(found["HostConfig"]["Tmpfs"]) == {"/home/notebook", "/tmp"}


def test_the_token_is_in_no_argument_list_of_the_default_command() -> None:
    assert "the-token" not in str(made()["Cmd"])


def test_a_command_may_ask_for_the_token() -> None:
    assert made(command="serve {base_path} {ip} {port} {token}", port=9999)["Cmd"][2] == (
        f"serve /user/{KEY}/ 127.0.0.1 9999 the-token"
    )


def test_a_command_may_ask_for_the_base_path_without_its_last_slash() -> None:
    assert made(command="marimo --base-url={prefix}")["Cmd"][2] == f"marimo --base-url=/user/{KEY}"


def test_braces_that_are_doubled_reach_the_shell_as_one() -> None:
    assert made(command="x {base_path} ${{HOME}}")["Cmd"][2] == f"x /user/{KEY}/ ${{HOME}}"


@pytest.mark.parametrize(
    ("command", "apart"),
    [
        pytest.param("x '--a=1 --b=\"2 3\"'", "x --a=1 '--b=2 3'", id="several options in one word"),
        pytest.param('x "--a --token=\\"\\""', "x --a --token=", id="an empty value"),
        pytest.param("x y '--a=1  --b=2' --c", "x y --a=1 --b=2 --c", id="beside others"),
        pytest.param("x --a=1 --b='2 3'", None, id="apart already"),
        pytest.param("x '--a=one two'", None, id="a value with a blank"),
        pytest.param("x '--a=one - two'", None, id="a value with a dash"),
        pytest.param("bash -c 'jupyter lab --a --b'", None, id="a script"),
        pytest.param("x '--a=\"1 --b'", None, id="quotes that do not end"),
        pytest.param("x 'y", None, id="a command that does not end"),
        pytest.param("y && x '--a=1 --b=2'", None, id="two commands"),
        pytest.param('x "--a=$HOME --b=2"', None, id="a variable"),
        pytest.param("x '--a=*.py --b=2'", None, id="a pattern"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_options_that_are_quoted_as_one_word_are_taken_apart(command: str, apart: str | None) -> None:
    assert options_apart(command) == (command if apart is None else apart)


def test_the_default_command_names_every_placeholder_but_the_token() -> None:
    assert [f"{{{name}}}" in DEFAULT_COMMAND for name in ("base_path", "ip", "port", "token")] == [
        True,
        True,
        True,
        False,
    ]


def test_the_token_can_be_read_back_from_the_engine() -> None:
    assert token_of({"Config": {"Env": made()["Env"]}}) == "the-token"
    assert token_of({"Config": {"Env": ["JUPYTER_TOKEN_OLD=x", "JUPYTER_TOKEN=a=b"]}}) == "a=b"
    assert token_of({"Config": {"Env": None}}) == ""


def test_what_only_the_service_knows_is_read_back_and_an_older_container_has_none() -> None:
    assert secret_of({"Config": {"Labels": {SECRET_LABEL: "known outside", "other": "x"}}}) == "known outside"
    assert (
        secret_of({"Config": {"Labels": {}}})
        == secret_of({"Config": {"Labels": None}})
        == secret_of({"Config": {}})
        == ""
    )


def test_what_makes_a_container_ours() -> None:
    assert labels(SPEC) == {"tmppool.service": "talks", "tmppool.pool": "main"}
    assert container_name(SPEC, KEY) == f"tmppool-talks-{id_of(KEY)}"
    assert KEY not in container_name(SPEC, KEY)


# Directories of the host


@pytest.mark.parametrize(
    ("entry", "expected"),
    [("/a:/b", ("/a", "/b", False)), ("/a:/b:rw", ("/a", "/b", False)), ("/a b:/c/d:ro", ("/a b", "/c/d", True))],
)
def test_a_directory_of_the_host_is_mounted_where_and_how_the_entry_says(
    entry: str, expected: tuple[str, str, bool]
) -> None:
    found = mount(entry)
    assert found.pop("Type") == "bind"
    assert tuple(found.values()) == expected


@pytest.mark.parametrize(
    "entry", ["", "foo", "/a", "a:/b", "/a:b", "/a:/b:", "/a:/b:z", "/a:/b:ro:ro", "/a::ro", ":/b"]
)
def test_an_entry_that_names_no_two_paths_is_one_sentence(entry: str) -> None:
    with pytest.raises(BackendError) as caught:
        mount(entry)
    assert str(caught.value).startswith(f"--host-directories: {entry!r} is not allowed: an entry is /host:/container")
    assert not caught.value.transient


# What a pool's containers have in common


def test_two_containers_of_the_same_settings_have_one_profile_whatever_else_they_have() -> None:
    assert edition_id(SPEC, IMAGE, EngineFacts()) == edition_id(replace(SPEC), replace(IMAGE), EngineFacts())
    assert edition_id(SPEC, IMAGE, EngineFacts()) == edition_id(replace(SPEC, start_timeout=7.0), IMAGE, EngineFacts())


@pytest.mark.parametrize(
    "changed",
    [
        *(parameters.values[0] for parameters in test_each_limit_is_one_setting.pytestmark[0].args[1]),
        {"command": "other {base_path}"}, {"port": 9999},
        {"user": "1000:100"}, {"uids": range(20_000, 29_999)}, {"network": "isolated"}, {"network": "bridge"},
    ],
    ids=str,
)  # fmt: skip
def test_another_setting_is_another_profile(changed: dict[str, object]) -> None:
    assert edition_id(replace(SPEC, **changed), IMAGE, EngineFacts()) != edition_id(SPEC, IMAGE, EngineFacts())


@pytest.mark.parametrize(
    ("image", "engine"),
    [
        pytest.param(replace(IMAGE, id="sha256:def"), EngineFacts(), id="image"),
        pytest.param(replace(IMAGE, volume="w"), EngineFacts(), id="home"),
        pytest.param(replace(IMAGE, below=""), EngineFacts(), id="working directory"),
        pytest.param(replace(IMAGE, entrypoint=("tini", "--")), EngineFacts(), id="entrypoint"),
        pytest.param(IMAGE, EngineFacts(seccomp="{}"), id="seccomp"),
        pytest.param(IMAGE, EngineFacts(seccomp=None), id="the engine's seccomp"),
        pytest.param(IMAGE, EngineFacts(has_swappiness=True), id="swappiness"),
    ],
)
def test_another_image_or_filter_is_another_profile(image: ImageFacts, engine: EngineFacts) -> None:
    assert edition_id(SPEC, image, engine) != edition_id(SPEC, IMAGE, EngineFacts())


def test_a_container_without_a_profile_or_with_another_was_made_with_other_settings() -> None:
    wanted = edition_id(SPEC, IMAGE, EngineFacts())
    assert edition_of({"Config": {"Labels": {EDITION_LABEL: wanted}}}) == wanted
    assert [edition_of({"Config": config}) for config in ({}, {"Labels": None}, {"Labels": {}})] == ["", "", ""]


# Networks


@pytest.mark.parametrize(("network", "is_internal"), [("isolated", True), ("bridge", False)])
def test_a_bridge_lets_no_two_containers_talk_and_leads_out_only_by_choice(
    network: str,
    is_internal: bool,  # noqa: FBT001
) -> None:
    spec = replace(SPEC, network=network)
    assert network_name(spec) == f"tmppool-talks-{network}"
    assert network_config(spec) == {
        "Name": f"tmppool-talks-{network}",
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Internal": is_internal,
        "EnableIPv6": False,
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
        "Labels": {"tmppool.service": "talks"},
    }


# Images


@pytest.mark.parametrize(
    ("shown", "facts"),
    [
        pytest.param(
            {
                "Id": "sha256:abc",
                "Config": {
                    "Env": ["PATH=/bin", "HOME=/home/jovyan", "SHELL=/bin/zsh"],
                    "User": "1000:100",
                    "WorkingDir": "/home/jovyan",
                    "Entrypoint": ["tini", "-g", "--"],
                    "Labels": {"tmppool.landing": "/notebooks/welcome.ipynb"},
                },
            },
            ImageFacts(
                "sha256:abc",
                "/notebooks/welcome.ipynb",
                user="1000:100",
                home="/home/jovyan",
                shell="/bin/zsh",
                workdir="/home/jovyan",
                env=("PATH=/bin", "HOME=/home/jovyan", "SHELL=/bin/zsh"),
                entrypoint=("tini", "-g", "--"),
                program=("tini", "-g", "--"),
            ),
            id="ours",
        ),
        pytest.param(
            {"Id": "x", "Config": {"Env": None, "WorkingDir": "", "Entrypoint": None, "Labels": None}},
            ImageFacts("x"),
            id="a bare one",
        ),
        pytest.param({"Id": "x", "Config": None}, ImageFacts("x"), id="no configuration at all"),
        pytest.param(
            {"Id": "x", "Config": {"Labels": {"tmppool.ready": "/healthz"}}},
            ImageFacts("x", knock="healthz"),
            id="a path that tells that it is ready",
        ),
        pytest.param(
            {"Id": "x", "Config": {"Volumes": {"b": {}, "/a/": {}, "/a": {}}}},
            ImageFacts("x", volumes=("/a", "/b")),
            id="volumes",
        ),
        pytest.param(
            {"Id": "x", "Config": {"WorkingDir": "/srv"}}, ImageFacts("x", workdir="/srv"), id="a working directory"
        ),
        pytest.param(
            {"Id": "x", "Config": {"Env": ["odd", "A=b=c"], "Entrypoint": ["/usr/bin/dumb-init", "--"]}},
            ImageFacts(
                "x",
                env=("odd", "A=b=c"),
                entrypoint=("/usr/bin/dumb-init", "--"),
                program=("/usr/bin/dumb-init", "--"),
            ),
            id="dumb-init, odd variables",
        ),
    ],
)
def test_what_is_read_of_an_image(shown: dict[str, object], facts: ImageFacts) -> None:
    assert image_facts(shown) == facts


def test_the_images_entrypoint_runs_the_command_when_the_home_is_there() -> None:
    found = made(replace(IMAGE, entrypoint=("tini", "-g", "--")))
    assert found["Entrypoint"] == ["/bin/sh", "-c", LAUNCH, "talks/one", "tini", "-g", "--"]
    assert found["Cmd"][:2] == ["/bin/sh", "-c"]


def test_a_command_of_options_alone_is_for_the_images_program() -> None:
    image = replace(IMAGE, program=("jupyter-lab", "--no browser"))
    assert made(image, command="--base={base_path} --x")["Cmd"][2] == (
        f"exec jupyter-lab '--no browser' --base=/user/{KEY}/ --x"
    )


def test_only_the_container_that_never_runs_may_write_into_the_volume_with_the_home() -> None:
    found = home_config(SPEC, IMAGE, "v")
    assert found == {
        "Image": "sha256:abc",
        "Entrypoint": ["/never-started"],
        "Labels": canary_labels(SPEC),
        "HostConfig": {
            "NetworkMode": "none",
            "Mounts": [
                {
                    **HOME_MOUNT,
                    "ReadOnly": False,
                    "VolumeOptions": {"NoCopy": True, "Labels": volume_labels(SPEC)},
                }
            ],
        },
    }
    assert volume_labels(SPEC) == {"tmppool.service": "talks", "tmppool.pool": "main", "tmppool.volume": "home"}


# What is tried


def test_a_trial_is_a_notebook_in_all_but_its_command_and_its_labels() -> None:
    own = container_config(SPEC, "name", "", IMAGE, EngineFacts(), uid=SPEC.uids[-1])
    trial = trial_config(SPEC, "name", IMAGE, EngineFacts(), ["python3", "-c", "x"])
    assert trial == {
        **own,
        "Entrypoint": ["/bin/sh", "-c", LAUNCH_ANYWAY, "talks/one"],
        "Cmd": ["python3", "-c", "x"],
        "Labels": canary_labels(SPEC),
    }
    trial = trial_config(SPEC, "name", IMAGE, EngineFacts(), ["x"], is_strict=True)
    assert trial == {**own, "Cmd": ["x"], "Labels": canary_labels(SPEC)}


def test_a_trial_has_the_user_that_all_have() -> None:
    assert trial_config(replace(SPEC, user="1000:100"), "name", IMAGE, EngineFacts(), [])["User"] == "1000:100"
