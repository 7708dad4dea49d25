"""The image's check of itself: each thing that can be wrong is found, and named."""

import os
import re

import pytest

from tests.archlinux.conftest import Lean
from tests.archlinux.stage import CHECK, checked
from tmppool.recipes import BuildOptions

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]  # the first test has to build the images

KERNELS = "/opt/notebook/share/jupyter/kernels"
SETTINGS = "/opt/notebook/share/jupyter/lab/settings/overrides.json"
CONFIG = "/etc/jupyter/jupyter_server_config.py"
TEA = '{"argv": ["tea", "{connection_file}"], "display_name": "Tea", "language": "tea"}'


@pytest.mark.parametrize(
    ("mutation", "check", "reason"),
    [
        ("chmod a-x /usr/local/bin/start-notebook.sh", "programs", "start-notebook.sh is no program"),
        ("rm /usr/bin/tini", "programs", "tini is no program"),
        ("sed -i /:20000:/d /etc/passwd", "users", "user 20000 has no name"),
        ("chown 0:0 /home/jovyan/welcome.ipynb", "home", "/home/jovyan/welcome.ipynb belongs to 0:0"),
        ("chown 0:0 /home/jovyan/.jupyter", "home", "/home/jovyan/.jupyter belongs to 0:0"),
        ("chmod 0640 /home/jovyan/welcome.ipynb", "home", "welcome.ipynb is not for everyone to read"),
        ("chmod 0757 /opt/notebook/bin", "writable by others", "/opt/notebook/bin"),
        ("touch /usr/lib/x && chmod 0666 /usr/lib/x", "writable by others", "/usr/lib/x"),
        ("touch /usr/lib/x && chgrp 100 /usr/lib/x && chmod 0664 /usr/lib/x", "writable by others", "/usr/lib/x"),
        ("chmod u+s /bin/mount", "raised rights", "/mount"),
        ("touch -d 2001-01-01 /usr/lib/python3*/asyncio/tasks.py", "bytecode", "/asyncio/tasks.py"),
        ("sed -i /news_url/d " + CONFIG, "calls outside", "the server calls "),
        ("sed -i /NeverCheck/d " + CONFIG, "calls outside", "the server calls "),
        ("rm " + SETTINGS, "calls outside", "JupyterLab's pages ask for news or updates"),
        (f"rm -r {KERNELS}/bash", "kernels", "missing: bash"),
        ("rm /opt/notebook/lib/python3*/site-packages/bash_kernel/kernel.py", "kernel bash", "Kernel died"),
        (f"mkdir {KERNELS}/tea && echo '{TEA}' > {KERNELS}/tea/kernel.json", "kernel tea", "its language 'tea'"),
        ("rm /opt/notebook/lib/python3*/site-packages/tornado/web.py", "boot", "the server did not start: "),
    ],
)
def test_what_is_wrong_is_named(lean: Lean, mutation: str, check: str, reason: str) -> None:
    code, output = checked(lean.name, mutation, check)
    assert code == 1, output
    assert re.search(rf"^FAILED  {check} +.*{re.escape(reason)}", output, re.MULTILINE), output
    assert "1 of 1 checks failed." in output


def test_a_kernel_that_answers_something_else_fails(lean: Lean) -> None:
    code, output = checked(lean.name, f"sed -i 's/6 [*] 7/6 * 8/' {CHECK}", "kernel python3", "kernel bash")
    assert code == 1
    assert "6 times 7 gave '48'" in output


def test_a_number_in_a_kernels_complaint_is_no_answer(lean: Lean) -> None:
    code, output = checked(
        lean.name, f"sed -i 's/print(6 [*] 7)/raise ValueError(str(6 * 7))/' {CHECK}", "kernel python3"
    )
    assert code == 1
    assert "its cell failed: '42'" in output


def test_the_import_that_was_most_of_a_start_is_found_when_it_is_back(lean: Lean) -> None:
    options = BuildOptions().resolved(os.environ)
    given = [f"--volume={options.ca_bundle}:/ca.crt:ro", "--env=PIP_CERT=/ca.crt"] if options.ca_bundle else []
    given += [f"--env=PIP_INDEX_URL={options.pip_index}"] if options.pip_index else []
    mutation = "pip install --quiet --disable-pip-version-check --no-cache-dir rfc3987_syntax"
    code, output = checked(lean.name, mutation, "boot", options=tuple(given) or ("--network=bridge",))
    assert code == 1, output
    assert re.search(r"^FAILED  boot .* which import is new\?$", output, re.MULTILINE), output


def test_a_check_that_is_none_is_said(lean: Lean) -> None:
    code, output = checked(lean.name, ":", "tea")
    assert code == 1
    assert "There is none of these checks: tea" in output
