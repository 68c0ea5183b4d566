"""Why a document is no invoice by rule: it is stored and counted, and never sent to a paid API."""

from __future__ import annotations

from collections.abc import Mapping

# reason code of a document in the state not_invoice: explanation for people
NOT_INVOICE_REASONS: Mapping[str, str] = {
    "container": "opened: each file in it is a document of its own",
    "calendar": "a calendar entry",
    "contact_card": "a contact card",
    "signature": "the signature of a mail",
    "decoration": "a picture in the text of a mail",
    "delivery_report": "a report about the delivery of a mail",
    "unmatched": "its file name matches no rule of the mailbox",
    "supporting_document": "a file inside an e-invoice, which states the invoice itself",
    "system_file": "a file in which an operating system keeps data about other files",
}
