"""The sources of settings: a TOML file, the environment, and files with one secret each."""

from __future__ import annotations

import tomllib
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from invoices.errors import ConfigurationError

ENVIRONMENT_PREFIX = "INVOICES_"
FILE_SUFFIX = "_FILE"
TEST_ENVIRONMENT_NAMES = ("INVOICES_CORPUS", "INVOICES_API_CONTRACTS")  # settings of the tests, not of the application


def read_settings_file(file: Path | None) -> dict[str, Any]:
    """Return the values of ``file``, or of ``invoices.toml`` in the current directory if that exists.

    Raises:
        ConfigurationError: the file cannot be read or is not valid TOML.
    """
    path = file or Path("invoices.toml")
    if file is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"cannot read the settings file {str(path)!r}: {error}") from error


def reject_unknown_environment_names(environment: Mapping[str, str], known_fields: Container[str]) -> None:
    """Check the first part of each variable's name; Pydantic checks the other parts with their values.

    Raises:
        ConfigurationError: a variable names no setting; the message names all of them.
    """
    unknown_names = []
    for name in environment:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in TEST_ENVIRONMENT_NAMES:
            field = name.removeprefix(ENVIRONMENT_PREFIX).removesuffix(FILE_SUFFIX).lower().split("__")[0]
            if field not in known_fields:
                unknown_names.append(name)
    if unknown_names:
        names = ", ".join(sorted(unknown_names))
        raise ConfigurationError(f"the environment has unknown settings: {names}; docs/settings.md lists all settings")


def read_secret_files(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return nested values for each ``INVOICES_…_FILE`` variable, read from the file that it names.

    A variable or a file without content counts as not set.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    values: dict[str, Any] = {}
    for name, path in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX) and name.endswith(FILE_SUFFIX) and path.strip():
            *parents, leaf = name[len(ENVIRONMENT_PREFIX) : -len(FILE_SUFFIX)].lower().split("__")
            try:
                text = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"cannot read the secret file of {name}: {error}") from error
            if not text:
                continue
            nested: Any = text
            for part in reversed((*parents, leaf)):
                nested = {part: nested}
            merge_overrides(values, nested)
    return values


def merge_overrides(values: dict[str, Any], overrides: dict[str, Any]) -> None:
    """Update ``values`` with ``overrides``, table by table."""
    for name, value in overrides.items():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            merge_overrides(values[name], value)
        else:
            values[name] = value


def format_settings_errors(error: ValidationError, values: Mapping[str, Any]) -> str:
    """Return a message with one line per mistake; a mistake in a source includes the source's name."""
    lines = [
        f"  {_format_location(detail['loc'], values)}{_describe_settings_error(detail)}" for detail in error.errors()
    ]
    return "the settings are invalid; nothing was touched:\n" + "\n".join(lines)


def _format_location(location: Sequence[int | str], values: Any) -> str:
    """Return the location of a mistake; an entry of a list is shown by its name if it has one."""
    parts: list[str] = []
    for part in location:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            values = None
        name = values.get("name") if isinstance(part, int) and isinstance(values, Mapping) else None
        parts.append(repr(name) if isinstance(name, str) else str(part))
    return ".".join(parts) + ": " if parts else ""


def _describe_settings_error(detail: Any) -> str:
    """Return the mistake in terms of the settings."""
    error_type = detail["type"]
    if error_type == "extra_forbidden":
        return "there is no such setting; docs/settings.md lists all settings"
    if error_type in ("tuple_type", "list_type"):
        return "must be a list"
    if error_type == "string_pattern_mismatch":
        return f"must match {detail['ctx']['pattern']}"
    return str(detail["msg"]).removeprefix("Value error, ")
