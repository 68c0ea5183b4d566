"""Accounting files of a batch of accepted invoices: rendered row by row, written atomically, verified afterwards.

``render_batch_folder(folder, batch, invoices)`` writes the files into a folder. ``write_batch_folder(root, batch,
invoices)`` does so under a temporary name and shows them all at once. ``verify_batch_folder(directory)`` checks a
finished batch against its manifest. ``docs/exports.md`` describes columns, signs and formula safety.

Round trip: a date, number or missing value in a CSV file reads back unchanged. A text cell reads back through
``cells.restore_sanitised_formulas``, which removes the apostrophes that ``cells.sanitise_formulas`` has put before
what a spreadsheet would calculate. What ``cells.remove_control_characters`` has removed is lost: control characters,
carriage returns (a line end becomes one line feed), and characters that no XML file can hold (each becomes U+FFFD). In
the workbook, a text too long for an Excel cell is cut with a visible mark, and a number of more than 15 digits is text.
The CSV files have both complete, and the manifest counts them.
"""

from invoices.exports.atomic_write import write_batch_folder
from invoices.exports.batch_header import REHEARSAL_SUFFIX, BatchHeader
from invoices.exports.manifest_verification import verify_batch_folder
from invoices.exports.rendering import OrderedInvoices, build_export_key, render_batch_folder, sort_for_export

__all__ = [
    "REHEARSAL_SUFFIX",
    "BatchHeader",
    "OrderedInvoices",
    "build_export_key",
    "render_batch_folder",
    "sort_for_export",
    "verify_batch_folder",
    "write_batch_folder",
]
