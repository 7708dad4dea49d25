"""The first line of a report: the machine, and the versions of all programs involved."""

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version

from benchmarks.peers import CHP, find_nginx
from tmppool import __version__

_NUMBER = re.compile(r"\d+(\.\d+)+\S*")


def facts(chp: str | None) -> dict[str, str]:
    """Return cores, memory, kernel, and the version of each program and library involved."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "tmppool": __version__,
        "Python": platform.python_version(),
        "uvloop": version("uvloop"),
        "aiohttp": version("aiohttp"),
        "nginx": _asked(find_nginx(), "-v"),
        f"{CHP} (chp)": _asked(chp, "--version"),
        "node": _asked(shutil.which("node"), "--version"),
        "wrk": _asked(shutil.which("wrk"), "-v"),
        "Docker": _asked(shutil.which("docker"), "version", "--format={{.Server.Version}}"),
        "Chromium": _asked(shutil.which("chromium"), "--version"),
    }
    return {name: text for name, text in found.items() if text}


def line(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {text}" for name, text in found.items())


def _asked(command: str | None, *words: str) -> str:
    """Return the version that a program prints; empty if it is not installed."""
    if command is None:
        return ""
    try:
        said = subprocess.run([command, *words], capture_output=True, text=True, timeout=15, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    number = _NUMBER.search(f"{said.stdout} {said.stderr}" if said.stdout else said.stderr)
    return number[0].rstrip(",") if number else ""
