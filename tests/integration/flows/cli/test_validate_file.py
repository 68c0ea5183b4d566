"""``invoices validate --file`` prints the official result of one file and records nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.commands import cli
from sandbox.sample_data.invoices import DRILLS
from sandbox.sample_data.ubl import render_ubl_invoice

UBL = render_ubl_invoice(DRILLS)
WRONG = UBL.replace(b'PayableAmount currencyID="EUR">1', b'PayableAmount currencyID="EUR">2')


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory that the command must not create."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INVOICES_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("content", "status", "line"),
    [
        (UBL, 0, "cen-ubl 1.3.16 (EN 16931:2017): valid"), (WRONG, 1, "  critical  BR-CO-16"),
        (b"no invoice", 1, "The official rules do not apply to this file: it is not an e-invoice"),
    ],
    ids=["valid", "invalid", "text"],
)  # fmt: skip
def test_the_result_is_printed_and_is_the_exit_status(
    tmp_path: Path, home: Path, content: bytes, status: int, line: str
) -> None:
    file = tmp_path / "invoice.xml"
    file.write_bytes(content)
    result = CliRunner().invoke(cli, ["validate", "--file", str(file), "--json"])
    assert (result.exit_code, line in result.stdout, home.exists()) == (status, True, False)
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["valid"] is {0: True}.get(status, False if content == WRONG else None)
    assert [rule["rule_id"] for run in report["runs"] for rule in run["failed"]] == ["BR-CO-16"] * (content == WRONG)


def test_a_file_that_is_not_there_is_a_mistake_of_the_caller() -> None:
    result = CliRunner().invoke(cli, ["validate", "--file", "missing.xml"])
    assert result.exit_code == 2
    assert "there is no file 'missing.xml'" in result.stderr


def test_a_rule_set_of_the_settings_is_used_and_one_without_its_file_is_a_mistake(tmp_path: Path) -> None:
    stylesheet, file, settings = tmp_path / "own.xslt", tmp_path / "invoice.xml", tmp_path / "invoices.toml"
    settings.write_text(
        f'[[rules.schematron]]\nname = "own"\nversion = "7"\nstylesheet = "{stylesheet}"\n'
        'customization_id = ["*billing:3.0"]'
    )
    file.write_bytes(UBL)
    result = CliRunner().invoke(cli, ["validate", "--file", str(file)])
    assert (result.exit_code, "own.xslt' is not the absolute path of a file" in result.stderr) == (2, True)
    stylesheet.write_text(
        '<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="2.0" '
        'xmlns:s="http://purl.oclc.org/dsdl/svrl"><xsl:template match="/"><s:schematron-output><s:fired-rule/>'
        '<s:failed-assert id="OWN-1" flag="fatal"><s:text>a rule of ours</s:text></s:failed-assert>'
        "</s:schematron-output></xsl:template></xsl:stylesheet>"
    )
    result = CliRunner().invoke(cli, ["validate", "--file", str(file)])
    assert result.exit_code == 1
    assert "own 7 (own): invalid\n  info      OWN-1  a rule of ours" in result.stdout
