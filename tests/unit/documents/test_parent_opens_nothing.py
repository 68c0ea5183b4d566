"""Only child processes match, parse or decode documents and mails: no module of the parent imports what does."""

from __future__ import annotations

import ast
from pathlib import Path

PROJECT = Path(__file__).parents[3]
# What runs in the process that holds the run lock and has no limits.
PARENT_PACKAGES = (
    "flows",
    "sources",
    "invoices/extraction",
    "invoices/ledger",
    "invoices/receipts",
)
PARENT_MODULES = (
    "invoices/app.py", "invoices/documents/document_reader_client.py", "invoices/documents/document_reader_pool.py",
    "invoices/documents/limited_process.py", "invoices/documents/malware_scanner.py", "invoices/documents/store.py",
    "invoices/documents/store_batch.py", "invoices/documents/containers/container_opener_client.py",
    "invoices/documents/containers/container_opener_pool.py",
    "invoices/documents/official_rules/rule_checker_pool.py", "invoices/documents/official_rules/rule_sets.py",
    "invoices/documents/official_rules/results.py", "invoices/documents/official_rules/severities.py",
)  # fmt: skip
MATCHING_NAMES = {
    "detect_media_type", "detect_file_type", "MBOX_FROM_LINE_PATTERN", "mbox_format", "find_threat_reason_code",
    "read_document_file", "open_container_recursively", "open_mail", "classify_non_invoice_text",
}  # fmt: skip
PARSERS = {
    "pikepdf", "pypdfium2", "lxml", "PIL", "zipfile", "tarfile", "xml", "asn1crypto", "invoices.documents.einvoice",
    "invoices.documents.pdf", "invoices.documents.xml_reader", "invoices.documents.image_reader",
    "invoices.documents.format_dispatch", "invoices.documents.containers.mbox_format",
    "invoices.documents.official_rules.schematron", "invoices.documents.containers.mail",
    "invoices.documents.containers.mime_tree",
}  # fmt: skip


def list_imported_names(path: Path) -> set[str]:
    """Return the modules that a module imports, with those around them, and the names that it imports from them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(alias.name for alias in node.names)}
    parts = [name.split(".") for name in names]
    return {".".join(name[:length]) for name in parts for length in range(1, len(name) + 1)}


def test_no_module_of_the_parent_imports_what_matches_or_parses_documents() -> None:
    paths = [path for package in PARENT_PACKAGES for path in (PROJECT / package).rglob("*.py")]
    paths += [PROJECT / module for module in PARENT_MODULES]
    assert len(paths) > 80
    found = {
        str(path.relative_to(PROJECT)): sorted(names)
        for path in paths
        if (names := list_imported_names(path) & (MATCHING_NAMES | PARSERS))
    }
    assert found == {}
