"""Chromium, Firefox and WebKit by one library, selenium, each as Debian packages it.

Firefox is driven by Marionette, the protocol that Mozilla's own driver program speaks to it: Debian has no package of
that program.
"""

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.command import Command
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

from tests.acceptance.harness import CHROMIUM_FLAGS, free_port

MINI_BROWSER = next(Path("/usr/lib").glob("*/webkit2gtk-4.1/MiniBrowser"), Path("MiniBrowser"))
PATIENCE = 120  # seconds; a page in front of a full pool asks again every half a minute
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the name of an element's id (WebDriver section 12)
Found = TypeVar("Found")

_MARIONETTE = {
    Command.NEW_SESSION: "NewSession",
    Command.QUIT: "DeleteSession",
    Command.GET: "Navigate",
    Command.REFRESH: "Refresh",
    Command.CLOSE: "CloseWindow",
    Command.GET_CURRENT_URL: "GetCurrentURL",
    Command.GET_TITLE: "GetTitle",
    Command.GET_PAGE_SOURCE: "GetPageSource",
    Command.FIND_ELEMENT: "FindElement",
    Command.FIND_ELEMENTS: "FindElements",
    Command.FIND_CHILD_ELEMENT: "FindElement",
    Command.FIND_CHILD_ELEMENTS: "FindElements",
    Command.GET_SHADOW_ROOT: "GetShadowRoot",
    Command.FIND_ELEMENT_FROM_SHADOW_ROOT: "FindElementFromShadowRoot",
    Command.FIND_ELEMENTS_FROM_SHADOW_ROOT: "FindElementsFromShadowRoot",
    Command.CLICK_ELEMENT: "ElementClick",
    Command.SEND_KEYS_TO_ELEMENT: "ElementSendKeys",
    Command.GET_ELEMENT_TEXT: "GetElementText",
    Command.GET_ELEMENT_PROPERTY: "GetElementProperty",
    Command.W3C_ACTIONS: "PerformActions",
    Command.W3C_CLEAR_ACTIONS: "ReleaseActions",
    Command.W3C_EXECUTE_SCRIPT: "ExecuteScript",
    Command.W3C_EXECUTE_SCRIPT_ASYNC: "ExecuteAsyncScript",
    Command.W3C_GET_CURRENT_WINDOW_HANDLE: "GetWindowHandle",
    Command.W3C_GET_WINDOW_HANDLES: "GetWindowHandles",
    Command.SWITCH_TO_WINDOW: "SwitchToWindow",
    Command.SWITCH_TO_FRAME: "SwitchToFrame",
    Command.GET_ALL_COOKIES: "GetCookies",
    Command.DELETE_ALL_COOKIES: "DeleteAllCookies",
    Command.SCREENSHOT: "TakeScreenshot",
}


class Marionette(RemoteConnection):
    """Sends selenium's commands to a Firefox that listens at ``port``: their parameters have the same names."""

    def __init__(self, port: int) -> None:
        super().__init__(client_config=ClientConfig(f"http://127.0.0.1:{port}"))  # never asked
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._stream = self._socket.makefile("rb")
        self._receive()  # its greeting

    def execute(self, command: str, params: dict[str, Any]) -> dict[str, Any]:
        said = json.dumps([0, 0, f"WebDriver:{_MARIONETTE[command]}", _said(command, params)]).encode()
        self._socket.sendall(b"%d:%b" % (len(said), said))
        _, _, error, value = self._receive()
        if error:
            return {"status": 500, "value": json.dumps({"value": error})}  # as HTTP would bring it
        return {"value": value["value"] if isinstance(value, dict) and set(value) == {"value"} else value}

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def _receive(self) -> Any:
        """Return the next message: JSON, after its length and a colon."""
        digits = b""
        while not digits.endswith(b":"):
            byte = self._stream.read(1)
            assert byte, "Firefox has ended"
            digits += byte
        return json.loads(self._stream.read(int(digits[:-1])))


def _said(command: str, params: dict[str, Any]) -> dict[str, Any]:
    match command:
        case Command.NEW_SESSION:
            return {"acceptInsecureCerts": True}
        case Command.SWITCH_TO_FRAME:
            frame = params["id"]
            return {"element": frame[ELEMENT]} if isinstance(frame, dict) else {"id": frame}
        case Command.FIND_CHILD_ELEMENT | Command.FIND_CHILD_ELEMENTS:
            renamed = {"id": "element"}
        case _:
            renamed = {"shadowId": "shadowRoot"}
    return {renamed.get(name, name): value for name, value in params.items() if name != "sessionId"}


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    options.accept_insecure_certs = True
    for flag in (*CHROMIUM_FLAGS, "--headless=new", "--window-size=1200,900", f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"profile.cookie_controls_mode": 1})  # no third-party cookies
    service = webdriver.ChromeService("/usr/bin/chromedriver", log_output=str(folder / "driver.log"))
    driver = webdriver.Chrome(options, service)
    try:
        yield driver
    finally:
        driver.quit()


FIREFOX_PREFERENCES = {
    "network.cookie.cookieBehavior.optInPartitioning": True,  # third-party cookies only if they say Partitioned
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.normandy.enabled": False,
}


@contextlib.contextmanager
def firefox(folder: Path) -> Iterator[WebDriver]:
    port, profile = free_port(), folder / "profile"
    profile.mkdir()
    wanted = {**FIREFOX_PREFERENCES, "marionette.port": port}
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in wanted.items())
    (profile / "user.js").write_text("\n".join(lines))
    command = ["firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
    with running(folder, command, HOME=str(folder), MOZ_HEADLESS_WIDTH="1200", MOZ_HEADLESS_HEIGHT="900"):
        until_port(port)
        with contextlib.closing(Marionette(port)) as marionette:
            yield WebDriver(marionette, options=webdriver.FirefoxOptions())


@contextlib.contextmanager
def webkit(folder: Path) -> Iterator[WebDriver]:
    """As GNOME's browser has it: it takes no cookie of a third party."""
    options = webdriver.WebKitGTKOptions()
    options.binary_location = str(MINI_BROWSER)
    options.set_capability("acceptInsecureCerts", value=True)
    options.set_capability("browserName", "MiniBrowser")
    options.add_argument("--automation")
    with display(folder) as name:
        env = {**os.environ, "DISPLAY": name, "HOME": str(folder), "GDK_BACKEND": "x11", "LIBGL_ALWAYS_SOFTWARE": "1"}
        service = webdriver.WebKitGTKService("/usr/bin/WebKitWebDriver", log_output=str(folder / "driver.log"), env=env)
        service.start()
        try:
            remote = RemoteConnection(client_config=ClientConfig(service.service_url))
            driver = WebDriver(remote, options=options)
            yield driver
            driver.quit()
        finally:
            service.stop()


ENGINES: dict[str, Callable[[Path], contextlib.AbstractContextManager[WebDriver]]] = {
    "chromium": chromium,
    "firefox": firefox,
    "webkit": webkit,
}


@contextlib.contextmanager
def running(folder: Path, command: list[str], **env: str) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **env})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def display(folder: Path) -> Iterator[str]:
    """A screen that nobody sees: WebKit has no headless mode here."""
    inner, outer = os.pipe()
    command = ["Xvfb", "-displayfd", str(outer), "-screen", "0", "1280x960x24", "-nolisten", "tcp"]
    with (folder / "xvfb.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=[outer])
    os.close(outer)
    try:
        with os.fdopen(inner) as told:
            yield f":{told.readline().strip()}"
    finally:
        process.terminate()
        process.wait(30)


def until_port(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.2)
    raise AssertionError(f"nothing listens on {port}")


class Person:
    """Somebody at a browser. Each wish is tried again until the page fulfils it, or ``PATIENCE`` is over."""

    def __init__(self, driver: WebDriver) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def until(self, wanted: Callable[[], Found], what: str) -> Found:
        """Return what is wanted once it is true; pages replace their elements meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(WebDriverException):
                if found := wanted():
                    return found
            time.sleep(0.2)
        raise AssertionError(f"{what} never came: {self.where}")

    @property
    def where(self) -> str:
        """What the page shows, for whoever reads a failure."""
        try:
            return (
                f"{self.text('return location.href')}\n{self.text('return document.documentElement.innerText')[:2000]}"
            )
        except WebDriverException as error:
            return str(error)

    def text(self, script: str) -> str:
        return str(self.driver.execute_script(script))

    def find(self, selector: str, text: str = "") -> WebElement:
        def found() -> WebElement | None:
            elements = self.driver.find_elements(By.CSS_SELECTOR, selector)
            return next((each for each in elements if text in each.text), None)

        return self.until(found, f"{selector} with {text!r}")

    def press(self, selector: str, text: str = "") -> None:
        self.until(lambda: self.find(selector, text).click() or True, f"a press of {selector}")

    def enter_frame(self, selector: str = "iframe") -> None:
        self.driver.switch_to.default_content()
        self.driver.switch_to.frame(self.find(selector))

    def enter_new_tab(self) -> None:
        """Go to the only other tab."""
        here = self.driver.current_window_handle
        others = self.until(lambda: [each for each in self.driver.window_handles if each != here], "a new tab")
        self.driver.switch_to.window(others[0])

    def run_cell(self, code: str, wanted: str) -> None:
        """Execute code in the first cell of the open notebook, and wait for its output."""
        self.find('[data-jp-item-name="kernelName"]', "Python")
        idle = '.jp-Notebook-ExecutionIndicator[data-status="idle"], .jp-Notebook-ExecutionIndicator[data-status="unknown"]'
        self.find(idle)
        self.press(".jp-CodeCell .cm-content")
        cell = self.find(".jp-CodeCell .cm-content")
        cell.send_keys(Keys.CONTROL, "a")
        cell.send_keys(code)
        cell.send_keys(Keys.CONTROL, Keys.ENTER)
        self.find(".jp-CodeCell .jp-OutputArea-output", wanted)
