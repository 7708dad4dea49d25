"""The command line: ``tmppool serve``, ``audit``, ``build-image`` and ``check-links``.

One sentence and exit 2 for a bad argument.
"""

import argparse
import asyncio
import difflib
import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from tmppool import __version__, app, build_image, config, environment, from_settings, log, recipes
from tmppool.audit import inspection, report, startup
from tmppool.audit.machine_sums import Planned
from tmppool.check_links import command as check_links
from tmppool.errors import BackendError, ConfigError, EngineAwayError, ImageError, ServiceAwayError, TmppoolError

_SECRETS = ("api_auth_token", "admin_auth_token", "pools", "repositories")
_USAGE_ERROR = 2
_LOOKS: dict[str, Any] = {
    "allow_abbrev": False,
    "add_help": False,
    "formatter_class": functools.partial(argparse.HelpFormatter, max_help_position=28, width=110),
}


class _Parser(argparse.ArgumentParser):
    """argparse with one-sentence errors, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0: success. 1: the image could not be built, or links are wrong. 2: a mistake of the caller, or settings that the
    backend refuses. 3: an audit has findings. 69, EX_UNAVAILABLE of sysexits.h: no engine, the backend failed, or the
    service whose links are checked does not answer. 130 and 141: ended by Ctrl-C or a broken pipe, as a shell numbers
    SIGINT and SIGPIPE.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = words.pop(0) if words and not words[0].startswith("-") else "serve"
    commands = {"serve": _serve, "audit": _audit, "build-image": _build_image, "check-links": _check_links}
    try:
        if command not in commands:
            raise ConfigError(f"{command!r} is not a command; the commands are {', '.join(commands)}")
        return _flushed(commands[command](words))
    except TmppoolError as error:
        log.flush()  # so that this is the last line
        sys.stderr.write(f"tmppool: {error}\n")
        return os.EX_UNAVAILABLE if _is_unavailable(error) else _USAGE_ERROR
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has closed the pipe. Python's flush at exit would fail again (signal documentation, "Note on
        # SIGPIPE").
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _is_unavailable(error: TmppoolError) -> bool:
    """Return True if the backend, or a service, is at fault, and the same command may succeed later."""
    return isinstance(error, EngineAwayError | ServiceAwayError) or (
        isinstance(error, BackendError) and error.transient
    )


def _flushed(status: int) -> int:
    """Flush the output, then return the status. Raises BrokenPipeError."""
    sys.stdout.flush()
    return status


def _serve_parser() -> argparse.ArgumentParser:
    return _Parser(
        usage="tmppool [serve | audit | build-image | check-links] [--OPTION=VALUE ...]",
        description=(
            "Serve temporary Jupyter notebooks from a warm pool. audit checks what serve depends on;"
            " build-image builds a notebook image; check-links finds wrong links in a site. Each command has its own"
            " --help."
        ),
        **_LOOKS,
    )


def _audit_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        usage="tmppool audit [--json] [--OPTION=VALUE ...]",
        description=(
            "With the same options as serve, check what it depends on: engine, kernel, limits, settings, image, probes."
            " Exit status 0: nothing serious; 3: findings of severity high or critical; 2: a bad option."
        ),
        **_LOOKS,
    )
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print every check as one JSON object"
    )
    return parser


def _serve(words: list[str]) -> int:
    return app.run(_load(parse_options(words)))


def _load(given: dict[str, str]) -> config.Settings:
    """Return the settings, and say on standard error which variables have no effect. Raises ConfigError."""
    settings = config.load(given)
    for name in environment.strangers(os.environ, config.VARIABLES):
        sys.stderr.write(f"tmppool: the variable {name} is not a setting and has no effect; --help-all lists them\n")
    for name, advice in config.RETIRED.items():
        if f"{environment.PREFIX}{name.replace('-', '_')}".upper() in os.environ:
            sys.stderr.write(f"tmppool: the variable for --{name} has no effect any more: {advice}\n")
    return settings


def _audit(words: list[str]) -> int:
    """Check everything that ``serve`` with the same options relies on; ``--json`` for programs.

    Exit status: 0 if no check of severity high or critical failed, else 3.
    """
    settings = _load(parse_options([word for word in words if word != "--json"], _audit_parser))
    startup.check_risks(settings.accept_risk)
    if settings.backend not in ("auto", "docker"):
        raise ConfigError(
            f"--backend: {settings.backend!r} cannot be audited: only containers isolate; use auto or docker"
        )
    from_settings.check_uids(settings)
    log.configure(level=settings.log_level)
    pools = [
        Planned(name, wanted.pool_size, from_settings.spec(settings.pool_name, name, wanted))
        for name, wanted in from_settings.wanted_pools(settings).items()
    ]
    ports = (settings.port, settings.admin_port)
    checks = asyncio.run(inspection.inspect(pools, settings.accept_risk, ports, settings.admin_ip))
    if "--json" in words:
        sys.stdout.write(f"{report.as_json(__version__, checks)}\n")
    else:
        report.show(checks, Console())
    return report.exit_status(checks)


def parse_options(
    words: list[str], make_parser: Callable[[], argparse.ArgumentParser] = _serve_parser
) -> dict[str, str]:
    """Return the given settings by field name. Raises ConfigError; ``--help`` and ``--version`` print and exit."""
    words = [_dashed(word) for word in words]
    if "--help-all" in words or "--help" in words or "-h" in words:
        _with_options(make_parser(), everything="--help-all" in words).print_help()
        raise SystemExit(0)
    found, unknown = _with_options(make_parser(), everything=True).parse_known_args(words)
    if unknown:
        raise ConfigError(_unknown(unknown[0]))
    given = vars(found)
    for name, advice in config.RETIRED.items():
        if given.pop(name.replace("-", "_"), None) is not None:
            sys.stderr.write(f"tmppool: --{name} has no effect any more: {advice}\n")
    return given


def _with_options(parser: argparse.ArgumentParser, *, everything: bool) -> argparse.ArgumentParser:
    """Add every setting to ``parser``, or only the common ones."""
    if not everything:
        parser.epilog = "--help-all lists every option. TMPPOOL_* variables and a TOML file (--config) work too."
    parser.add_argument("--version", action="version", version=f"tmppool {__version__}")
    for name, field in config.Settings.model_fields.items():
        extra = field.json_schema_extra
        common = isinstance(extra, dict) and bool(extra.get("common"))
        if name in _SECRETS or not (everything or common):
            continue
        is_switch = field.annotation is bool
        default = "" if field.default in (None, ()) or is_switch else f" [{field.default}]"
        text = f"{field.description}{default}".replace("%", "%%")
        flag = f"--{name.replace('_', '-')}"
        more: dict[str, Any] = {"nargs": "?", "const": "true"} if is_switch else {}
        parser.add_argument(flag, dest=name, metavar="VALUE", default=argparse.SUPPRESS, help=text, **more)
    if everything:
        for name in config.RETIRED:
            parser.add_argument(
                f"--{name}", nargs="?", const="", default=argparse.SUPPRESS, help=argparse.SUPPRESS, metavar="VALUE"
            )
    return parser


def _dashed(word: str) -> str:
    """Accept ``--pool_size``, tmpnb's spelling, too."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return f"--{name[2:].replace('_', '-')}{equals}{value}"


def _unknown(word: str) -> str:
    if not word.startswith("-"):
        return f"{word!r} is unexpected; options are written as --name=value"
    name = word.partition("=")[0]
    known = [f"--{field.replace('_', '-')}" for field in config.Settings.model_fields if field not in _SECRETS]
    close = difflib.get_close_matches(name, known, 1)
    hint = f" did you mean {close[0]}?" if close else ""
    return f"{name} is not an option;{hint} --help-all lists them"


def _build_argument(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not (name and equals):
        raise ConfigError(f"--build-arg: {word!r} is not NAME=VALUE")
    return name, value


def _build_image(words: list[str]) -> int:
    parser = _Parser(prog="tmppool build-image", description="Build a notebook image; no registry is needed.")
    parser.add_argument("name", metavar="NAME", help=f"one of: {', '.join(recipes.names())}")
    parser.add_argument("--mirror", help="package mirror of the distribution")
    parser.add_argument("--pip-index", help="package index for pip")
    parser.add_argument("--ca-bundle", type=Path, help="CA certificates to trust during the build")
    parser.add_argument("--base", metavar="IMAGE", help="base image to build on, instead of building one")
    parser.add_argument(
        "--build-arg", metavar="NAME=VALUE", action="append", default=[], help="as in docker build; can be repeated"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="rebuild even if nothing changed, to get newer packages of the system"
    )
    found = parser.parse_args([_dashed(word) for word in words])
    options = recipes.BuildOptions(
        mirror=found.mirror,
        pip_index=found.pip_index,
        ca_bundle=found.ca_bundle,
        base=found.base,
        arguments=tuple(_build_argument(word) for word in found.build_arg),
        fresh=found.fresh,
    )
    try:
        sys.stdout.write(f"{asyncio.run(build_image.build(found.name, options))}\n")
    except ImageError as error:
        sys.stderr.write(f"tmppool: {error}\n")
        return 1
    return 0


def _check_links(words: list[str]) -> int:
    parser = _Parser(prog="tmppool check-links", description=check_links.DESCRIPTION, allow_abbrev=False)
    check_links.add_options(parser)
    return check_links.run(parser.parse_args(words))


if __name__ == "__main__":
    sys.exit(main())
