"""Images as operators have them: what of them works, and what is said of the rest."""

import asyncio
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.acceptance.harness import IMAGE, ROOT, Service, chromium, running
from tests.acceptance.test_mistakes import LINE, start
from tests.backends.contract import KEY
from tests.backends.test_inside import evaluate
from tests.images import built
from tests.specs import spec_of
from tmppool.audit import canary
from tmppool.backends import image_home
from tmppool.backends.base import DEFAULT_COMMAND
from tmppool.backends.container import network_name
from tmppool.backends.docker import DockerBackend
from tmppool.errors import StartError
from tmppool.jupyter import JupyterClient

pytestmark = [pytest.mark.engine, pytest.mark.process, pytest.mark.timeout(1200)]


async def audit(*options: str) -> dict[str, dict[str, str]]:
    """Run ``tmppool audit`` as an operator does; return its checks by name."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tmppool", "audit", "--json", *options, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    return {check["id"]: check for check in json.loads(out)["checks"]}


async def contents(service: Service, path: str) -> dict[str, object]:
    """Return what Jupyter says of a file in a fresh notebook."""
    taken = await service.spawn()
    async with taken.client() as session, session.get(f"{taken.url}api/contents/{path}") as reply:
        assert reply.status == 200, (path, await reply.text())
        return dict(await reply.json())


async def test_what_a_notebook_lacks_of_the_home_is_said_at_the_start_and_by_the_audit(tmp_path: Path) -> None:
    lines = (
        "RUN umask 077 && mkdir course && cp welcome.ipynb course/one.ipynb && jupyter trust course/one.ipynb",
        "USER root",
        "RUN cp welcome.ipynb roots.ipynb && chmod 600 roots.ipynb",
        "USER 1000:100",
    )
    said = "'/home/jovyan/roots.ipynb' (mode 0600, the image's user cannot read it)"
    async with built(*lines) as image:
        async with running(tmp_path, "docker", "--pool-size=1", image=image) as service:
            assert (await contents(service, "course/one.ipynb"))["type"] == "notebook"
            (event,) = [event for event in service.events if event["event"] == "backend.warned"]
            assert said in event["message"]
            assert "chown" in event["message"]
            check = (await audit(*service.options))["image-home"]
        assert (check["status"], check["severity"]) == ("fail", "medium")
        assert said in check["seen"]
        assert check["remedy"]


def script(path: str, *lines: str) -> str:
    """Return the line of a Dockerfile that writes a script."""
    return f"RUN printf '%s\\n' {' '.join(shlex.quote(line) for line in lines)} > {path} && chmod 755 {path}"


async def answered(
    image: str, path: str, *, command: str = DEFAULT_COMMAND, seconds: float = 60.0, method: str = "GET"
) -> tuple[int, str]:
    """Start a notebook of the image, and return what it answers below its base path."""
    changed: dict[str, Any] = {"image": image, "command": command, "start_timeout": seconds}
    backend = DockerBackend(spec_of(service=f"test-{os.getpid()}-images", pool="main", **changed))
    try:
        await backend.open()
        started = await backend.start(KEY, backend.edition)
        (listed,) = await backend.list()
        assert listed.knock == started.knock
        async with JupyterClient(started) as jupyter:
            assert await jupyter.answers()
            headers = {"Authorization": f"token {started.token}"}
            url = f"{jupyter.origin}{started.base_path}{path}"
            async with jupyter.session.request(method, url, headers=headers) as reply:
                return reply.status, await reply.text()
    finally:
        if backend._docker is not None:
            await backend.stop(KEY)
            await image_home.clear(backend.spec.service)
        await backend.close()


ADA = (
    "USER root",
    "RUN useradd -m -d /home/ada ada && chmod 700 /home/ada && mkdir -p /usr/local/etc/jupyter",
    'RUN echo \'{"ServerApp": {"root_dir": "/home/ada/work"}}\' > /usr/local/etc/jupyter/jupyter_server_config.json',
    "ENV HOME=/home/ada PATH=/home/ada/.local/bin:$PATH",
    "USER ada",
    "WORKDIR /home/ada",
)
KERNEL = {"argv": ["/home/ada/.local/bin/kernel", "-f", "{connection_file}"], "display_name": "x", "language": "python"}


@pytest.mark.parametrize(
    ("lines", "command"),
    [
        pytest.param(
            [
                *ADA,
                "RUN mkdir -p work .local/bin .local/share/jupyter/kernels/python3 && ln -s /bin/sh .local/bin/own-sh",
                script(".local/bin/course", "#!/home/ada/.local/bin/own-sh", 'exec jupyter lab "$@"'),
                script(
                    ".local/bin/kernel",
                    "#!/home/ada/.local/bin/own-sh",
                    'cd work; STARTED=by-path exec /opt/notebook/bin/python3 -m ipykernel_launcher "$@"',
                ),
                f"RUN echo {shlex.quote(json.dumps(KERNEL))} > .local/share/jupyter/kernels/python3/kernel.json",
            ],
            DEFAULT_COMMAND.replace("jupyter lab", "course"),
            id="a closed home with programs, and the system's configuration",
        ),
        pytest.param(
            [
                "RUN mkdir .jupyter work",
                script(".jupyter/jupyter_server_config.py", "c.ServerApp.root_dir = '/home/jovyan/work'"),
                "ENV STARTED=by-path",
            ],
            DEFAULT_COMMAND,
            id="the home's configuration",
        ),
    ],
)
async def test_what_names_the_home_by_its_path_works_and_writes_to_the_copy(lines: list[str], command: str) -> None:
    async with built(*lines) as image:
        backend = DockerBackend(spec_of(service=f"test-{os.getpid()}-path", pool="main", image=image, command=command))
        try:
            assert (await backend.open()).notes == ()
            started = await backend.start(KEY, backend.edition)
            async with JupyterClient(started) as jupyter:
                url = f"{jupyter.origin}{started.base_path}api/contents/new.txt"
                file = {"type": "file", "format": "text", "content": "saved"}
                headers = {"Authorization": f"token {started.token}"}
                async with jupyter.session.put(url, headers=headers, json=file) as reply:
                    assert reply.status == 201, await reply.text()
            code = "import os; print(os.environ['STARTED'], open(os.path.expanduser('~/work/new.txt')).read())"
            assert await evaluate(started, code) == "by-path saved\n"
        finally:
            await backend.stop(KEY)
            await image_home.clear(backend.spec.service)
            await backend.close()


async def test_an_entrypoint_that_is_a_server_works_and_is_told(tmp_path: Path) -> None:
    async with (
        built('ENTRYPOINT ["jupyter-lab"]') as image,
        running(tmp_path, "docker", "--pool-size=1", image=image) as service,
    ):
        await contents(service, "welcome.ipynb")
        (event,) = [event for event in service.events if event["event"] == "backend.warned"]
        assert f"the entrypoint of image {image} (jupyter-lab) does not run the command" in event["message"]
        (seconds,) = re.findall(r" listens on a port, and ran no command within (\d+) s \(", event["message"])
        assert 10 <= int(seconds) < 20
        assert "import" not in service.log
        assert max(len(line) for line in service.log.splitlines()) < 1500


async def test_options_alone_are_for_the_entrypoint() -> None:
    command = "--ServerApp.base_url={base_path} --ServerApp.port={port} --ServerApp.ip={ip}"
    async with built('ENTRYPOINT ["jupyter-lab", "--no-browser"]') as image:
        assert (await answered(image, "api/contents", command=command))[0] == 200


async def test_the_line_of_tmpnb_days_works_with_todays_scripts_and_an_empty_token(tmp_path: Path) -> None:
    lines = (
        "USER root",
        script("/usr/local/bin/start-notebook.sh", "#!/bin/bash", 'exec jupyter lab "$@"'),
        "USER 1000",
    )
    options = ("--pool-size=1", f"--command={LINE}")
    async with built(*lines) as image, running(tmp_path, "docker", *options, image=image) as service:
        taken = await service.spawn()
        async with taken.client() as session:
            wanted = {"path": "welcome.ipynb", "name": "", "type": "notebook", "kernel": {"name": None}}
            async with session.post(f"{taken.url}api/sessions", json=wanted) as reply:
                assert reply.status == 201, await reply.text()
            async with session.put(
                f"{taken.url}api/contents/new.txt", json={"type": "file", "format": "text", "content": "x"}
            ) as reply:
                assert reply.status == 201, await reply.text()
            async with session.get(f"{taken.url}lab") as reply:
                assert reply.status == 200
                kept = {"Cookie": "; ".join(f"{name}={each.value}" for name, each in reply.cookies.items())}
            assert "_xsrf=" in kept["Cookie"]  # a program that keeps cookies sends one half of the double submit
            async with session.delete(f"{taken.url}api/contents/new.txt", headers=kept) as reply:
                assert reply.status == 204, await reply.text()


async def test_a_start_hook_with_a_relative_path_runs_in_the_copy_of_the_workdir(tmp_path: Path) -> None:
    lines = (
        "RUN mkdir repo && umask 077 && echo data > repo/data",
        "WORKDIR /home/jovyan/repo",
        script("hook", "#!/bin/sh", "cp data copied && export FROM_HOOK=1", 'exec "$@"'),
        'ENTRYPOINT ["./hook"]',
    )
    option = '--command=test "$FROM_HOOK" = 1 && exec ' + DEFAULT_COMMAND
    async with built(*lines) as image, running(tmp_path, "docker", "--pool-size=1", option, image=image) as service:
        assert (await contents(service, "copied"))["content"] == "data\n"


HOOK = "#!/bin/bash"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param([HOOK, "echo x > /srv/x || exit 1", 'exec "$@"'], "Read-only file system", id="read-only"),
        pytest.param([HOOK, "set -e; chown 1000 $HOME", 'exec "$@"'], "Operation not permitted", id="chown"),
        pytest.param([HOOK, "sleep 12", 'exec "$@"'], "", id="slow"),
        pytest.param([HOOK, "\"$@\" 2>&1 | sed 's/^/[app] /'"], "", id="prefix"),
        pytest.param([HOOK, 'exec "$@" > /tmp/log 2>&1'], "", id="redirected"),
        pytest.param([HOOK, '"$@" 2>&1 | tee "$REPO_DIR/.log"; exit "${PIPESTATUS[0]}"'], "", id="repo2docker"),
    ],
)
async def test_an_entrypoint_that_is_left_out_is_told_with_its_reason(lines: list[str], said: str) -> None:
    repository = "WORKDIR /srv/repo", "RUN chown 1000 .", "ENV REPO_DIR=/srv/repo"
    hook = "USER root", script("/hook", *lines), 'ENTRYPOINT ["/hook"]', *repository, "USER 1000:100"
    async with built(*hook) as image:
        service = f"test-{os.getpid()}-images"
        backend = DockerBackend(spec_of(service=service, pool="main", image=image, network="isolated"))
        try:
            traits = await backend.open()
            notes = [note for note in traits.notes if "entrypoint" in note]
            assert bool(notes) == bool(said)
            assert all("(/hook) does not run the command that it is given: a notebook's " in note for note in notes)
            assert all(said in note and "exit code 1" in note for note in notes)
            assert backend.image.entrypoint == (() if said else ("/hook",))
            probes = (await canary.run(backend)).results
            assert {probe.name for probe in probes if not probe.held} <= {"reach-gateway", "reach-host"}
        finally:
            if backend._docker is not None:
                await backend.docker._query_json(f"networks/{network_name(backend.spec)}", "DELETE")
            await backend.close()
            await image_home.clear(service)


async def test_an_entrypoint_that_is_a_login_shell_passes_the_start_up_probes(tmp_path: Path) -> None:
    entrypoint = 'ENTRYPOINT ["/bin/bash", "-lc", "exec \\"$@\\"", "--"]'
    async with built(entrypoint) as image, running(tmp_path, "docker", "--pool-size=1", image=image) as service:
        await contents(service, "welcome.ipynb")
        assert "backend.warned" not in {event["event"] for event in service.events}


APP = """
import http.server, sys
base, ip, port, good = sys.argv[1:]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 200 if self.path == base + good else 404
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"an app")
    def log_message(self, *words):
        print("asked for", self.path.removeprefix(base), flush=True)
print("it listens", flush=True)
http.server.ThreadingHTTPServer((ip, int(port)), Handler).serve_forever()
"""
SERVE = "exec python3 /srv/app.py {base_path} {ip} {port} "
AN_APP = ("USER root", script("/srv/app.py", *APP.splitlines()), "USER 1000")


async def test_a_web_application_without_jupyters_api_is_ready_at_its_base_path() -> None:
    async with built(*AN_APP) as image:
        assert await answered(image, "", command=SERVE + "''") == (200, "an app")


OWN_APP = """
import http.server, json, sys
prefix, ip, port = sys.argv[1:]
assert not prefix.endswith("/"), "the base URL must not end with a slash"
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = self.headers["Authorization"]
        is_known = self.path.endswith("token=theirs") or (said or "").startswith("Basic")
        body = json.dumps({"path": self.path.removeprefix(prefix), "authorization": said}).encode()
        self.send_response(200 if is_known or self.path == prefix + "/up" else 401)
        self.send_header("WWW-Authenticate", 'Basic realm="Lesson"')
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer((ip, int(port)), Handler).serve_forever()
"""


async def test_a_web_application_has_all_its_paths_to_itself(tmp_path: Path) -> None:
    """Also after a restart. It refuses a base path with a slash at its end, as marimo does."""
    lines = ("USER root", script("/srv/app.py", *OWN_APP.splitlines()), "USER 1000", "LABEL tmppool.ready=up")
    options = ("--pool-size=1", "--command=exec python3 /srv/app.py {prefix} {ip} {port}")
    basic = aiohttp.encode_basic_auth("student", "secret")
    async with built(*lines) as image, running(tmp_path, "docker", *options, image=image) as service:
        taken = await service.spawn()
        ours = {"Authorization": f"token {taken.token}"}
        for is_restarted in (False, True):
            if is_restarted:
                await service.kill()
                await service.start(warm=0)
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
                for path in ("x", "api", "api/status", "login", "static/a", "files/x", "view/z", "custom/y", "metrics"):
                    async with session.get(f"{taken.url}{path}?token=theirs", headers=ours) as reply:
                        assert (await reply.json(content_type=None))["path"] == f"/{path}?token=theirs"
                        assert reply.status == 200
                    query = {"Authorization": basic}
                    async with session.get(f"{taken.url}{path}?token={taken.token}", headers=query) as reply:
                        assert await reply.json(content_type=None) == {"path": f"/{path}", "authorization": basic}
                    async with session.get(f"{taken.url}{path}", headers=ours) as reply:
                        assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, 'Basic realm="Lesson"')


async def test_the_page_of_a_web_application_is_its_own_root(tmp_path: Path) -> None:
    """The image below names a document of Jupyter's."""
    options = ("--pool-size=1", f"--command={SERVE}''")
    async with (
        built(*AN_APP) as image,
        running(tmp_path, "docker", *options, image=image) as service,
        chromium() as browser,
    ):
        page = await (await browser.new_context()).new_page()
        await page.goto(service.at("/"))
        await page.wait_for_url("**/user/**")
        assert re.fullmatch(r"/user/[^/]+/", urlsplit(page.url).path)
        assert await page.inner_text("body") == "an app"


async def test_an_image_may_name_what_tells_that_its_server_is_ready() -> None:
    async with built(*AN_APP, "LABEL tmppool.ready=/up") as image:
        assert await answered(image, "up", command=SERVE + "up") == (200, "an app")


async def test_a_server_that_is_never_ready_is_told_with_its_last_answer_and_its_last_words() -> None:
    async with built(*AN_APP) as image:
        with pytest.raises(StartError) as caught:
            await answered(image, "", command=SERVE + "elsewhere", seconds=5.0)
        said = str(caught.value).removesuffix("api")  # it is asked for both in turn
        assert said.endswith("did not answer within 5 s: its last answer was 404 to GET {base_path}")
        assert "asked for api" in caught.value.log_tail
        with pytest.raises(StartError) as caught:
            await answered(image, "", command="echo last words; sleep 99; : {base_path}", seconds=4.0)
        assert str(caught.value).endswith("did not answer within 4 s: nothing listened on port 8888 (--container-port)")
        assert caught.value.log_tail == "last words"


async def test_a_fixed_token_in_the_image_is_refused_with_its_field() -> None:
    async with built(
        "RUN mkdir .jupyter && echo 'c.IdentityProvider.token = \"x\"' > .jupyter/jupyter_server_config.py"
    ) as image:
        with pytest.raises(StartError, match=r"sets another \(IdentityProvider\.token, ") as caught:
            await answered(image, "api/status")
        assert not caught.value.transient


async def test_an_identity_provider_that_does_not_take_our_token_is_refused_with_its_field() -> None:
    provider = (
        "from jupyter_server.auth import IdentityProvider",
        "class Nobody(IdentityProvider):",
        "    def get_user(self, handler): return None",
        "c.ServerApp.identity_provider_class = Nobody",
    )
    async with built("RUN mkdir .jupyter", script(".jupyter/jupyter_server_config.py", *provider)) as image:
        with pytest.raises(
            StartError, match=r" an identity provider of its own \(ServerApp\.identity_provider_class\)"
        ):
            await answered(image, "api/status")


async def test_an_authorizer_that_refuses_the_tokens_holder_is_refused_with_its_field() -> None:
    authorizer = (
        "from jupyter_server.auth import Authorizer",
        "class Nobody(Authorizer):",
        "    def is_authorized(self, handler, user, action, resource): return False",
        "c.ServerApp.authorizer_class = Nobody",
    )
    async with built("RUN mkdir .jupyter", script(".jupyter/jupyter_server_config.py", *authorizer)) as image:
        with pytest.raises(StartError, match=r" or an authorizer \(ServerApp\.authorizer_class\)"):
            await answered(image, "api/status")


async def test_tls_in_the_image_is_refused_with_its_fields() -> None:
    files = "import os", *(f"c.ServerApp.{name} = os.path.expanduser('~/{name}')" for name in ("certfile", "keyfile"))
    lines = (
        "RUN mkdir .jupyter && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout keyfile -out certfile",
        script(".jupyter/jupyter_server_config.py", *files),
    )
    async with built(*lines) as image:
        with pytest.raises(StartError, match=r"speaks TLS, .* leave certfile and keyfile ") as caught:
            await answered(image, "api/status")
        assert not caught.value.transient


INSIDE = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{os.environ['SHELL']} {open('/proc/1/comm').read()}".encode())
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""
LOOK_INSIDE = ("USER root", script("/srv/inside.py", *INSIDE.splitlines()))
LOOK = "exec python3 /srv/inside.py {ip} {port} {base_path}"


@pytest.mark.parametrize(
    ("line", "shell"),
    [
        ("", "/bin/bash"),
        ("ENV SHELL=/usr/bin/python3", "/usr/bin/python3"),
        ("RUN rm /bin/bash", "/bin/sh"),
        ("RUN cp /bin/bash /home/jovyan/mysh\nENV SHELL=/home/jovyan/mysh", "/home/jovyan/mysh"),
    ],
    ids=["the image has bash", "the image names another", "the image has no bash", "the image has one in its home"],
)
async def test_the_shell_is_the_images_own_or_one_that_it_has(line: str, shell: str) -> None:
    async with built(*LOOK_INSIDE, line, "USER 1000:100") as image:
        assert (await answered(image, "", command=LOOK))[1].split()[0] == shell
        if line:
            assert (await answered(image, "api/terminals", method="POST"))[0] == 200


async def test_an_entrypoint_that_is_left_out_takes_no_init_with_it() -> None:
    async with built(*LOOK_INSIDE, "USER 1000:100", 'ENTRYPOINT ["tini", "--", "false"]') as image:
        assert (await answered(image, "", command=LOOK))[1].split()[1] == "docker-init"


async def test_an_image_that_ends_unused_servers_keeps_its_warm_notebooks() -> None:
    """Jupyter says at its start that it will end, a minute or more before it does."""
    config = "c.ServerApp.shutdown_no_activity_timeout = 60"
    command = f"{DEFAULT_COMMAND} 2>&1 | tee $HOME/said"
    async with built("RUN mkdir .jupyter", script(".jupyter/jupyter_server_config.py", config)) as image:
        status, said = await answered(image, "files/said", command=command)
        assert (status, "Use Control-C to stop this server" in said) == (200, True)
        assert "Will shut down" not in said
        without = command.replace("--ServerApp.shutdown_no_activity_timeout=0", "")
        assert "Will shut down after 60 seconds" in (await answered(image, "files/said", command=without))[1]


async def test_what_else_an_image_may_set_does_no_harm() -> None:
    lines = (
        (
            "RUN mkdir .jupyter && printf '%s\\n'"
            " \"c.ServerApp.tornado_settings = {'compress_response': True}\""
            " \"c.PasswordIdentityProvider.hashed_password = 'argon2:x'\" > .jupyter/jupyter_server_config.py"
        ),
        "ENV JUPYTER_TOKEN=fixed JUPYTER_DATA_DIR=/home/jovyan/.data",
        "HEALTHCHECK --interval=1s CMD exit 1",
        "STOPSIGNAL SIGINT",
        "ENTRYPOINT exec jupyter-lab",
        'CMD ["never", "run"]',
    )
    async with built(*lines) as image:
        assert (await answered(image, "api/status"))[0] == 200


@pytest.mark.parametrize("missing", ["/bin/tar", "/bin/sh"])
async def test_an_image_without_what_a_start_needs_is_one_sentence(tmp_path: Path, missing: str) -> None:
    async with built("USER root", f"RUN rm {missing}", "USER 1000:100") as image:
        options = Service(tmp_path, "docker", f"--image={image}").options
        status, said = await start(*options)
    (line,) = [line for line in said.splitlines() if not line.startswith("{")]
    assert status == 2
    assert "--image: a container of " in line
    assert missing.removeprefix("/bin/") in line.partition(" a container of ")[2]
    assert len(line) < 500


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("tmppool.landing=lab", "the tmppool.landing label of {image}: 'lab' is not allowed"),
        ("tmppool.landing=/spawn/lab", "the tmppool.landing label of {image}: '/spawn/lab' is not allowed"),
        ("tmppool.ready=/../x", "the tmppool.ready label of {image}: '../x' is not allowed"),
        ("tmppool.ready=http://x/y", "the tmppool.ready label of {image}: 'http://x/y' is not allowed"),
    ],
)
async def test_a_wrong_label_ends_the_start_with_one_sentence_and_leaves_no_volume(
    tmp_path: Path, label: str, said: str
) -> None:
    async with built(f"LABEL {label}") as image:
        service = Service(tmp_path, "docker", f"--image={image}")
        status, output = await start(*service.options)
    (line,) = [line for line in output.splitlines() if not line.startswith("{")]
    assert status == 2
    assert said.format(image=image) in line
    assert await image_home.present(service.name) == []


async def test_an_audit_leaves_no_volume_of_its_own_and_those_of_a_service_alone(tmp_path: Path) -> None:
    service = Service(tmp_path, "docker", "--pool-size=1")
    await audit(*service.options)
    assert await image_home.present(service.name) == []
    backend = DockerBackend(spec_of(service=service.name, pool=service.name, image=IMAGE))
    try:
        await backend.open()
        await audit(*service.options)
        assert await image_home.present(service.name) == [backend.image.volume]
    finally:
        await backend.close()
        await image_home.clear(service.name)
    assert await image_home.present(service.name) == []


async def test_a_home_that_does_not_fit_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    async with built("RUN head -c 3000000 /dev/zero > big") as image:
        status, said = await start(*Service(tmp_path, "docker", f"--image={image}", "--home-size=1m").options)
    (line,) = [line for line in said.splitlines() if not line.startswith("{")]
    assert status == 2
    assert "--home-size: 1048576 bytes are fewer than the 30" in line
