"""What the official rules say about documents: one result per document, rule set and version, computed once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, insert, select

from invoices.ledger.documents import iter_chunks
from invoices.ledger.ledger import Transaction
from invoices.ledger.tables import official_results


@dataclass(frozen=True, slots=True)
class OfficialResult:
    """The result of one rule set; ``rule_set`` is empty if none is for the document.

    ``table_version`` is that of the table by which the rule set was chosen. ``status`` is ``valid``, ``invalid``,
    ``not_applicable`` or ``not_run``. ``failed_rules`` is JSON: for each invoice of the document, a list of objects
    with ``rule_id``, ``text``, ``location``, ``count`` and ``is_error``.
    """

    document_sha256: str
    rule_set: str
    rule_set_version: str
    standard: str
    table_version: str
    status: str
    reason: str
    failed_rules: str


def list_official_results(
    connection: Connection, document_hashes: Iterable[str], table_version: str
) -> list[OfficialResult]:
    """Return the results about these documents that were computed with this version of the table of rule sets."""
    columns = [official_results.c[name] for name in OfficialResult.__slots__]
    results: list[OfficialResult] = []
    for chunk in iter_chunks(document_hashes):
        rows = connection.execute(
            select(*columns)
            .where(
                official_results.c.document_sha256.in_(chunk),
                official_results.c.table_version == table_version,
            )
            .order_by(official_results.c.document_sha256, official_results.c.rule_set)
        )
        results += [OfficialResult(*row) for row in rows]
    return results


def record_official_results(tx: Transaction, results: Sequence[OfficialResult]) -> None:
    """Record results, in place of earlier ones of the same document, rule set and version; others stay beside them."""
    for result in results:
        tx.connection.execute(
            delete(official_results).where(
                official_results.c.document_sha256 == result.document_sha256,
                official_results.c.rule_set == result.rule_set,
                official_results.c.rule_set_version == result.rule_set_version,
            )
        )
    if results:
        tx.connection.execute(
            insert(official_results), [asdict(result) | {"checked_at": tx.timestamp} for result in results]
        )
