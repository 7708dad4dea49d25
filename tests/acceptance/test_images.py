"""Images as operators have them: what of them works, and what is said of the rest."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.acceptance.harness import ROOT, Service, running
from tests.images import built

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
