"""The words keep up with the code: commands, settings, tables, rules, reason codes, links, and the names of tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import BaseModel
from typer.main import get_command

from expectations.validation import RULES
from flows.cli.commands import cli
from flows.reports.run_summary import STATES
from invoices.clients.error_mapping import DOCUMENT_REFUSAL_REASONS
from invoices.documents.flag_rules import FLAG_RULES
from invoices.documents.outcomes import REASON_CODES
from invoices.settings import (
    EXTRACTORS,
    TEST_ENVIRONMENT_NAMES,
    FolderSettings,
    MailboxSettings,
    MailRule,
    OAuthSettings,
    SchematronSettings,
    Settings,
)
from tests.run_environment import CHECKOUT
from transforms.loading.warehouse_tables import WAREHOUSE_TABLES, LoadTable

DOCS = CHECKOUT / "docs"
PAGES = sorted([*CHECKOUT.glob("*.md"), *DOCS.rglob("*.md")])
PACKAGES = ("flows", "sources", "transforms", "expectations", "invoices")
SOURCE_BY_PATH = {path: path.read_text() for package in PACKAGES for path in sorted((CHECKOUT / package).rglob("*.py"))}
EMPTY_ANSWERS_SQL = (CHECKOUT / "transforms" / "core" / "empty_answers.sql").read_text()
SQL = "".join(path.read_text() for path in sorted((CHECKOUT / "transforms").rglob("*.sql")))


def list_commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and the command of each command of a group, and of the groups in it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from list_commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


COMMANDS: dict[str, Any] = dict(list_commands(get_command(cli)))
COMMAND_GROUPS = {name.split()[0] for name in COMMANDS if " " in name}
TYPES = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.bool_(): "BOOLEAN", pa.date32(): "DATE"}
REASON_CODE_ARGUMENTS = {  # the place of the reason code among the arguments
    "_Stop": 0, "VendorStopped": 0, "stop": 0, "because": 0, "_move": 3, "_failed": 1, "failed": 1, "failed_in": 2,
    "set_aside_in": 2, "give_to_person": 1, "_give_to_person": 1, "leave_waiting": 1, "_done": 1,
}  # fmt: skip


def read_page(name: str) -> str:
    return (DOCS / name).read_text()


def find_section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one of the same or a higher level; empty if there is none."""
    level = len(heading) - len(heading.lstrip("#"))
    match = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


def parse_table_rows(text: str) -> list[list[str]]:
    """Return the cells of each table row whose first cell is code."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def parse_code_spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# Commands


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if not command.hidden])
def test_every_command_is_described_with_its_options(name: str) -> None:
    section_text = find_section(read_page("commands.md"), f"## `invoices {name}`")
    assert section_text.strip(), f"docs/commands.md has no section about invoices {name}"
    options = [option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("--")]
    assert [option for option in options if f"`{option}" not in section_text] == []
    assert f"`invoices {name}" in (CHECKOUT / "README.md").read_text()


def test_no_page_names_a_command_or_an_option_that_does_not_exist() -> None:
    for path in PAGES:
        for line in re.findall(r"(?:^|`)(?:\S*/bin/)?invoices +([a-z]+(?: [^`\n]*)?)", path.read_text(), re.MULTILINE):
            name, *arguments = line.split(" #")[0].split()
            if name in COMMAND_GROUPS and arguments:
                name = f"{name} {arguments.pop(0)}"
            if name not in COMMANDS and not re.search(rf"`invoices {name}\b", path.read_text()):
                continue  # a sentence, not a command
            assert name in COMMANDS, f"{path.name}: invoices {name}"
            known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
            strange = {word for word in arguments if word.startswith("--")} - known
            assert not strange, f"{path.name}: invoices {line}"


def test_every_make_target_that_a_page_names_is_there() -> None:
    doors = set(re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    for path in PAGES:
        named = set(re.findall(r"(?:^|`)make ([a-z]+)", path.read_text(), re.MULTILINE))
        assert named <= doors, path.name


# Settings


def list_setting_fields(model: type[BaseModel], prefix: str = "INVOICES_") -> Iterator[tuple[str, object]]:
    """Yield the environment name and the default of each field, those of the tables one by one."""
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from list_setting_fields(type(default), f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}", default


SETTING_DEFAULTS = dict(list_setting_fields(Settings))
SETTING_ROWS = {parse_code_spans(row[0])[0]: row for row in parse_table_rows(read_page("settings.md"))}


@pytest.mark.parametrize("name", SETTING_DEFAULTS)
def test_every_setting_is_described_with_its_default(name: str) -> None:
    assert name in SETTING_ROWS, f"docs/settings.md has no row for {name}"
    assert SETTING_ROWS[name][1] == _format_default(name, SETTING_DEFAULTS[name])
    assert len(SETTING_ROWS[name][2]) > 10


@pytest.mark.parametrize("part", [MailboxSettings, MailRule, OAuthSettings, FolderSettings, SchematronSettings])
def test_every_setting_in_a_list_is_described(part: type[BaseModel]) -> None:
    described = {parse_code_spans(row[0])[0]: row for row in parse_table_rows(read_page("settings.md"))}
    for name, field in part.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = {"()": "`[]`", "('INBOX',)": '`["INBOX"]`', "('*',)": '`["*"]`', "None": "none", "True": "`true`"}
        written = shown.get(str(default), f"`{default}`")
        assert described[name][1] == ("required" if field.is_required() else written), name


def test_secrets_are_called_so() -> None:
    secret = {name for name in SETTING_DEFAULTS if name.endswith(("__API_KEY", "__DOCUMENT_URL_SECRET", "LEDGER_URL"))}
    in_lists = {"password", "client_secret", "refresh_token", "secrets"}
    assert {name for name, row in SETTING_ROWS.items() if row[2].startswith("*secret*")} == secret | in_lists


def test_no_page_names_a_setting_that_does_not_exist() -> None:
    known = (
        {*SETTING_DEFAULTS, *TEST_ENVIRONMENT_NAMES}
        | {f"{name}_FILE" for name in SETTING_DEFAULTS}
        | {"INVOICES_INBOX__PAHT"}
    )  # on purpose
    for path in PAGES:
        named = set(re.findall(r"INVOICES_[A-Z_]*[A-Z]", path.read_text()))
        assert named <= known, path.name


def _format_default(name: str, default: object) -> str:
    if default is None:
        return "none"
    if name == "INVOICES_EXTRACTORS":
        return f"`{','.join(EXTRACTORS)}`"
    literals = {True: "true", False: "false", (): "[]"}
    return f"`{literals.get(default, default) if isinstance(default, (bool, tuple)) else default}`"


# Tables


@pytest.mark.parametrize("table", WAREHOUSE_TABLES, ids=lambda table: f"{table.layer}.{table.name}")
def test_every_loaded_table_is_described_with_its_columns_and_types(table: LoadTable) -> None:
    section_text = find_section(read_page("tables.md"), f"### `{table.layer}.{table.name}`")
    assert [(parse_code_spans(row[0])[0], row[1]) for row in parse_table_rows(section_text)] == [
        (field.name, "JSON" if field.name == "payload" else _get_sql_type(field.type)) for field in table.schema
    ]
    assert all(len(row) == 3 and row[2] for row in parse_table_rows(section_text))


def _get_sql_type(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    return TYPES.get(kind, "TIMESTAMPTZ")


# States, rules and reason codes


def test_the_readme_says_what_every_state_means() -> None:
    state_rows = parse_table_rows(find_section((CHECKOUT / "README.md").read_text(), "## Document states"))
    assert {parse_code_spans(row[0])[0] for row in state_rows} == set(STATES)


def test_every_rule_is_described_with_its_severity_and_no_other() -> None:
    row_by_rule = {parse_code_spans(row[0])[0]: row for row in parse_table_rows(read_page("rules.md"))}
    assert set(row_by_rule) == set(RULES) | set(FLAG_RULES)
    assert {row_by_rule[rule_id][1] for rule_id in FLAG_RULES} == {"info"}
    for rule_id, rule in RULES.items():
        severity = f"{rule.severity}, verdict *{rule.verdict}*" if rule.verdict else rule.severity
        assert row_by_rule[rule_id][1] == severity, rule_id
        assert len(row_by_rule[rule_id]) == 5, rule_id


def collect_reason_codes_in_code() -> set[str]:
    """Return the reason codes that the code writes out, wherever it does."""
    reason_codes = {
        *REASON_CODES,
        *DOCUMENT_REFUSAL_REASONS.values(),
        *re.findall(r"(?:THEN|ELSE) '([a-z_]+)'", EMPTY_ANSWERS_SQL),
    }
    for text in SOURCE_BY_PATH.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                reason_codes.update(_find_reason_codes_in_call(node))
    return reason_codes


def _find_reason_codes_in_call(call: ast.Call) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    expressions: list[ast.expr] = [keyword.value for keyword in call.keywords if keyword.arg == "reason_code"]
    expressions += (
        call.args[REASON_CODE_ARGUMENTS[name] : REASON_CODE_ARGUMENTS[name] + 1]
        if name in REASON_CODE_ARGUMENTS
        else []
    )
    for value in expressions:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value


def collect_documented_reason_codes() -> set[str]:
    return {code for row in parse_table_rows(read_page("reasons.md")) for code in parse_code_spans(row[0])}


def test_every_reason_code_is_described() -> None:
    assert collect_reason_codes_in_code() - collect_documented_reason_codes() == set()


def test_no_reason_code_is_described_that_nothing_can_end_in() -> None:
    strings = "\n".join([*SOURCE_BY_PATH.values(), SQL])
    assert [code for code in collect_documented_reason_codes() if not re.search(rf"['\"]{code}['\"]", strings)] == []


# Links and names


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        place, _, anchor = target.partition("#")
        file = path.parent / place if place else path
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, target


def test_the_index_leads_to_every_page() -> None:
    index = read_page("index.md")
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if path.name != "index.md"]
    assert [name for name in pages if f"({name})" not in index] == []


def test_every_test_that_a_page_names_is_there() -> None:
    tests = "".join(path.read_text() for path in (CHECKOUT / "tests").rglob("*.py"))
    named = {name for path in PAGES for name in re.findall(r"`(test_\w+)`", path.read_text())}
    assert [name for name in sorted(named) if f"def {name}(" not in tests] == []


# Bad input


def test_every_row_of_the_catalogue_of_bad_input_is_described_once() -> None:
    documented_rows = re.findall(r"^\| (B-\d\d) \|", read_page("bad-inputs.md"), re.MULTILINE)
    assert documented_rows == [f"B-{number:02}" for number in range(1, max(54, len(documented_rows)) + 1)]


def test_what_becomes_of_bad_input_is_a_reason_code_a_rule_or_a_flag() -> None:
    known = collect_documented_reason_codes() | set(RULES) | set(FLAG_RULES)
    cells = [
        line.strip("|").split("|")[-1] for line in read_page("bad-inputs.md").splitlines() if line.startswith("| B-")
    ]
    assert {code for cell in cells for code in parse_code_spans(cell)} - known == set()
