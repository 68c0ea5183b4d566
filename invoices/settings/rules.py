"""Settings of the rules about e-invoices: the official ones, and compiled Schematron files that the user adds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from invoices.settings.section import SettingsSection

RULE_SET_NAME_PATTERN = r"^[a-z0-9._-]{1,40}$"


class SchematronSettings(SettingsSection):
    """A compiled Schematron that checks e-invoices besides the official rules."""

    name: str = Field(pattern=RULE_SET_NAME_PATTERN, description="name of the rule set in findings")
    version: str = Field(min_length=1, max_length=40, description="its version; raise it with the file")
    stylesheet: Path = Field(description="absolute path of the XSLT file that a Schematron compiler has written")
    customization_id: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="patterns (*, ?) of the specification ids (BT-24) of the documents that it is for"
    )
    syntax: Literal["any", "ubl", "cii"] = Field("any", description="the syntax of these documents")

    @field_validator("stylesheet")
    @classmethod
    def _check_stylesheet(cls, value: Path) -> Path:
        path = value.expanduser()
        if not path.is_absolute() or not path.is_file():
            raise ValueError(f"{str(path)!r} is not the absolute path of a file")
        return path


class RulesSettings(SettingsSection):
    """Which rules besides our own decide about e-invoices."""

    official: bool = Field(True, description="whether the official rules decide about e-invoices")
    schematron: tuple[SchematronSettings, ...] = Field((), description="compiled Schematron files of your own")

    @model_validator(mode="after")
    def _check_unique_names(self) -> Self:
        name_counts = Counter(rule_set.name for rule_set in self.schematron)
        if duplicates := [name for name, count in name_counts.items() if count > 1]:
            raise ValueError(f"several rule sets have the name {', '.join(map(repr, duplicates))}")
        return self
