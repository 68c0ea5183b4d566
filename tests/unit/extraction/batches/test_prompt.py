"""The prompt for invoicedataextraction.com stays within the vendor's limits (contract sheet 02 §2.5)."""

from __future__ import annotations

import pytest

from invoices.extraction.batches.prompt import OutputStructure, build_prompt
from invoices.extraction.invoicedataextraction_com import build_configuration

STRUCTURES: list[OutputStructure] = ["per_invoice", "per_line_item"]
RESERVED_NAMES = {"sourcefile", "reviewneeded"}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_prompt_is_within_the_vendors_limits(structure: OutputStructure) -> None:
    prompt_fields = build_prompt(structure)
    names = [field["name"] for field in prompt_fields["fields"]]
    assert 1 <= len(names) <= 20
    assert all(2 <= len(name) <= 50 for name in names)
    assert all(3 <= len(field["prompt"]) <= 600 for field in prompt_fields["fields"])
    assert len(prompt_fields["general_prompt"]) <= 1_500


@pytest.mark.parametrize("structure", STRUCTURES)
def test_field_names_are_unique_and_none_is_reserved_by_the_vendor(structure: OutputStructure) -> None:
    plain = [field["name"].lower().replace(" ", "").replace("_", "") for field in build_prompt(structure)["fields"]]
    assert len(set(plain)) == len(plain)
    assert RESERVED_NAMES.isdisjoint(plain)


def test_each_output_structure_has_its_own_configuration() -> None:
    assert len({build_configuration(structure) for structure in STRUCTURES}) == len(STRUCTURES)
