"""Where a coordinator's settings come from: defaults, then a TOML file, then the environment, then flags."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gradmesh_engine.errors import InvalidRequestError
from gradmesh_server.config import SETTINGS, Config, Setting

DEFAULT: Final = "default"

_UNITS: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_TRUTH: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}

# What Kubernetes puts into every container's environment for a Service called "gradmesh" or
# "gradmesh-metrics" (GRADMESH_PORT=tcp://10.0.0.7:50051): an address of its own, not a setting.
_SERVICE_LINK: Final = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True)
class Settings:
    """A configuration and where each part of it comes from.

    Attributes:
        config: the effective values.
        sources: for each setting its source, in words.
        ignored: environment variables that look like settings and are none.
    """

    config: Config
    sources: Mapping[str, str]
    ignored: tuple[str, ...] = ()

    def text(self) -> str:
        """The effective configuration as a TOML file; nothing in it is secret, since secrets live in files only."""
        lines = []
        for table in ("", "limits"):
            if table:
                lines += ["", f"[{table}]"]
            rows = [(s, getattr(self.config, s.name)) for s in SETTINGS.values() if s.table == table]
            said = [
                f"# {s.name} = (not set)" if value is None else f"{s.name} = {_toml(s, value)}" for s, value in rows
            ]
            width = min(48, max(map(len, said)))
            lines += [f"{text:<{width}}  # {self.sources[s.name]}" for text, (s, _) in zip(said, rows, strict=True)]
        if self.ignored:
            lines += ["", f"# in the environment, but not settings: {', '.join(self.ignored)}"]
        return "\n".join(lines)


def load(file: str | None, environment: Mapping[str, str], flags: Mapping[str, str | bool]) -> Settings:
    """The effective settings.

    Args:
        file: name of a TOML file, or None.
        environment: variables; those called GRADMESH_… are looked at.
        flags: what was given on the command line, by setting.

    Raises:
        InvalidRequestError: naming the setting, its source and what is allowed.
    """
    values: dict[str, Any] = {}
    sources = dict.fromkeys(SETTINGS, DEFAULT)
    if file is not None:
        for name, value in _read(file).items():
            values[name] = value
            sources[name] = f"from {file}"
    for setting in SETTINGS.values():
        text = environment.get(setting.variable)
        if text is None or _SERVICE_LINK.match(text):
            continue
        source = f"from the environment variable {setting.variable}"
        values[setting.name] = _parse(setting, text, source)
        sources[setting.name] = source
    for name, given in flags.items():
        source = f"from the flag {SETTINGS[name].flag}"
        values[name] = _parse(SETTINGS[name], given, source)
        sources[name] = source
    for name, value in values.items():
        setting = SETTINGS[name]
        setting.check(value, sources[name])
        if setting.kind == "file" and value:
            _check_file(setting, value, sources[name])
    config = Config(**values)
    config.check_together()
    return Settings(config, sources, _look_alikes(environment))


def _read(file: str) -> dict[str, Any]:
    """The values of a file, by setting."""
    try:
        content = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequestError(
            f"the configuration {file} cannot be read: {error.strerror}", remedy="give the name of a TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"the configuration {file} is not TOML: {error}", remedy="mend that line") from None
    found: dict[str, Any] = {}
    limits = content.pop("limits", {})
    if not isinstance(limits, dict):
        raise InvalidRequestError(f"limits is wrong, from {file}", expected="a table [limits]", got=repr(limits))
    for table, entries in (("", content), ("limits", limits)):
        for name, value in entries.items():
            setting = SETTINGS.get(name)
            if setting is None or setting.table != table:
                raise _unknown(name, table, file)
            found[name] = _parse(setting, value, f"from {file}") if isinstance(value, str) else value
    return found


def _unknown(name: str, table: str, file: str) -> InvalidRequestError:
    where = f"in the table [{table}]" if table else "at the top level"
    setting = SETTINGS.get(name)
    if setting is not None:
        right = f"in the table [{setting.table}]" if setting.table else "at the top level, before any table"
        remedy = f"put it {right}"
    else:
        near = difflib.get_close_matches(name, SETTINGS, n=1)
        remedy = f"did you mean {near[0]}?" if near else "take it out"
    names = [s.name for s in SETTINGS.values() if s.table == table]
    return InvalidRequestError(
        f"there is no setting {name} {where}, from {file}", expected=", ".join(names), got=name, remedy=remedy
    )


def _parse(setting: Setting, value: str | bool, source: str) -> Any:
    """A value written as text."""
    if isinstance(value, bool) or setting.type == "str":
        return value
    text = value.strip()
    try:
        if setting.type == "bool":
            return _TRUTH[text.lower()]
        if setting.kind == "bytes":
            number, unit = re.fullmatch(r"([0-9_.]+)\s*([A-Za-z]*)", text).groups()  # type: ignore[union-attr]
            return int(float(number) * _UNITS[unit]) if unit else int(number)
        return int(text) if setting.type == "int" else float(text)
    except (KeyError, ValueError, AttributeError):
        raise setting.wrong(value, source) from None


def _check_file(setting: Setting, name: str, source: str) -> None:
    try:
        with open(name, "rb"):
            pass
    except (OSError, ValueError) as error:
        # A secret put where the name of its file belongs must not reach a log.
        shown = name if len(name) < 256 and "\n" not in name and Path(name).parent.is_dir() else "***"
        reason = error.strerror if isinstance(error, OSError) else "not the name of a file"
        raise InvalidRequestError(
            f"{setting.name} cannot be read ({reason}), {source}", expected=setting.allowed, got=shown
        ) from None


def _look_alikes(environment: Mapping[str, str]) -> tuple[str, ...]:
    known = {setting.variable for setting in SETTINGS.values()} | {"GRADMESH_CONFIG", "GRADMESH_CHECK"}
    return tuple(
        sorted(
            name
            for name in environment
            if name.startswith("GRADMESH_") and name not in known and difflib.get_close_matches(name, known, 1, 0.85)
        )
    )


def _toml(setting: Setting, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # A name of a file is no secret, and what it holds is not shown.
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    text = setting.text(value)
    return f'"{text}"' if text[-1] == "B" else text
