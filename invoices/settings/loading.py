"""Where settings come from: a TOML file, the environment, and files that hold one secret each."""

from __future__ import annotations

import tomllib
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from invoices.errors import ConfigurationError

ENVIRONMENT_PREFIX = "INVOICES_"
FILE_SUFFIX = "_FILE"
TEST_ENVIRONMENT_NAMES = ("INVOICES_CORPUS", "INVOICES_API_CONTRACTS")  # told to the tests, not to us


def read_settings_file(file: Path | None) -> dict[str, Any]:
    """Return what the file says; nothing where no file is named and none is here."""
    path = file or Path("invoices.toml")
    if file is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"cannot read the settings file {str(path)!r}: {error}") from error


def reject_unknown_environment_names(environment: Mapping[str, str], known_fields: Container[str]) -> None:
    """Notice a misspelt first part of a name; the parts below it are checked with their values."""
    prefixed_names = (
        name for name in environment if name.startswith(ENVIRONMENT_PREFIX) and name not in TEST_ENVIRONMENT_NAMES
    )
    unknown = [name for name in prefixed_names if _extract_field_name(name) not in known_fields]
    if unknown:
        raise ConfigurationError(f"the environment sets what is no setting: {', '.join(sorted(unknown))}")


def _extract_field_name(name: str) -> str:
    return name[len(ENVIRONMENT_PREFIX) :].removesuffix(FILE_SUFFIX).lower().split("__")[0]


def read_secret_files(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return nested values for each ``INVOICES_…_FILE`` variable, read from the file that it names."""
    values: dict[str, Any] = {}
    for name, path in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX) and name.endswith(FILE_SUFFIX):
            *parents, leaf = name[len(ENVIRONMENT_PREFIX) : -len(FILE_SUFFIX)].lower().split("__")
            try:
                text = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"cannot read the secret that {name} names: {error}") from error
            nested: Any = text
            for part in reversed((*parents, leaf)):
                nested = {part: nested}
            merge_overrides(values, nested)
    return values


def merge_overrides(values: dict[str, Any], overrides: dict[str, Any]) -> None:
    """Put what is ``above`` over the values, table by table."""
    for name, value in overrides.items():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            merge_overrides(values[name], value)
        else:
            values[name] = value


def format_settings_errors(error: ValidationError, values: Mapping[str, Any]) -> str:
    """Return every mistake on a line of its own, with the name of the source that it is in."""
    lines = [
        f"  {_format_location(detail['loc'], values)}{_describe_settings_error(detail)}" for detail in error.errors()
    ]
    return "the settings do not hold; nothing was touched:\n" + "\n".join(lines)


def _format_location(location: Sequence[int | str], values: Any) -> str:
    """Return where a mistake is; a source in a list is called by its name, where it has one."""
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
    """Return what is wrong, in the words of the settings."""
    error_type = detail["type"]
    if error_type == "extra_forbidden":
        return "there is no such setting; docs/settings.md has them all"
    if error_type in ("tuple_type", "list_type"):
        return "has to be a list"
    if error_type == "string_pattern_mismatch":
        return f"has to fit {detail['ctx']['pattern']}"
    return str(detail["msg"]).removeprefix("Value error, ")
