"""What comes with invoices and is none, by rule: it is kept, counted, and never sent to a paid API."""

from __future__ import annotations

from collections.abc import Mapping

# reason code of a document in the state not_invoice: what a person should understand
NOT_INVOICE_REASONS: Mapping[str, str] = {
    "container": "unwrapped: what was inside is a document of its own",
    "calendar": "a calendar entry",
    "contact_card": "a contact card",
    "signature": "the signature of a mail",
    "decoration": "a picture that belongs to the text of a mail",
    "delivery_report": "a report about the delivery of a mail",
    "unmatched": "its name fits no rule of the mailbox",
    "system_file": "what an operating system notes about other files",
}
