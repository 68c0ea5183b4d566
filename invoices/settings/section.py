"""The base class of all tables of the settings, and the types of values that may be blank."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr


class SettingsSection(BaseModel):
    """A table of ``invoices.toml``; unknown names are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _replace_blank_by_none(value: object) -> object:
    """Return None for a text of white space only: an empty key would make a home one for real runs."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return None if isinstance(text, str) and not text.strip() else value


OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_replace_blank_by_none)]
OptionalText = Annotated[str | None, BeforeValidator(_replace_blank_by_none)]
ApiKey = Annotated[
    SecretStr | None,
    BeforeValidator(_replace_blank_by_none),
    BeforeValidator(lambda value: value.strip() if isinstance(value, str) else value),
]
