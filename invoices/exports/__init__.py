"""Accounting files of a batch of accepted invoices: rendered in memory, written atomically, verified afterwards.

``render_batch_files(batch, invoices)`` returns the files as bytes. ``write_batch_folder(root, batch, files)`` writes
them all at once. ``verify_batch_folder(directory)`` checks a finished batch against its manifest. ``docs/exports.md``
describes columns, signs and formula safety.

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
from invoices.exports.rendering import render_batch_files

__all__ = ["REHEARSAL_SUFFIX", "BatchHeader", "render_batch_files", "verify_batch_folder", "write_batch_folder"]
