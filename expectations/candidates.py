"""The rules for a candidate as a whole: what it states, its totals, its dates, and that it is new."""

from __future__ import annotations

from expectations.rule import Rule

TABLE_NAME = "candidates"

RULES = (
    # What can be read
    Rule("AMOUNT-EXACT", "warning", "every amount and rate is a plain decimal that fits without rounding"),
    Rule("DATE-EXACT", "warning", "every date is one day that exists, written so that it has one reading"),
    # Presence
    Rule("BR-02", "critical", "the invoice has a number (BT-1)"),
    Rule("BR-03", "critical", "the invoice has an issue date (BT-2)"),
    Rule("BR-04", "info", "the invoice has a type code (BT-3)"),
    Rule("BR-05", "critical", "the invoice has a currency (BT-5)"),
    Rule("BR-06", "warning", "the supplier has a name (BT-27)"),
    Rule("BR-07", "warning", "the customer has a name (BT-44)"),
    Rule("BR-08", "info", "the supplier has an address (BG-5)"),
    Rule("BR-09", "info", "the supplier's address has a country (BT-40)"),
    Rule("BR-10", "info", "the customer has an address (BG-8)"),
    Rule("BR-11", "info", "the customer's address has a country (BT-55)"),
    Rule("BR-12", "info", "the sum of lines is stated (BT-106)"),
    Rule("BR-13", "warning", "the total without tax is stated (BT-109)"),
    Rule("BR-14", "critical", "the total with tax is stated (BT-112)"),
    Rule("BR-15", "warning", "the amount due is stated (BT-115)"),
    Rule("TAX-STATED", "warning", "the tax total is stated (BT-110), or the totals with and without tax are the same"),
    Rule("BR-CO-09", "info", "the supplier's VAT id begins with a country (BT-31)"),
    Rule("BR-CO-25", "info", "a positive amount due has a due date or payment terms (BT-9, BT-20)"),
    Rule("BR-CO-26", "info", "the supplier can be identified (BT-29, BT-30, BT-31)"),
    # Arithmetic
    Rule("BR-CO-10", "critical", "the sum of lines is the sum of the lines (BT-106 = Σ BT-131)"),
    Rule("BR-CO-11", "critical", "the sum of allowances is the sum of the allowances (BT-107 = Σ BT-92)"),
    Rule("BR-CO-12", "critical", "the sum of charges is the sum of the charges (BT-108 = Σ BT-99)"),
    Rule("BR-CO-13", "critical", "total without tax = lines − allowances + charges (BT-109)"),
    Rule("BR-CO-14", "critical", "the tax total is the sum of the tax categories (BT-110 = Σ BT-117)"),
    Rule("BR-CO-15", "critical", "total with tax = total without tax + tax total (BT-112)"),
    Rule("BR-CO-16", "critical", "amount due = total with tax − prepaid + rounding (BT-115)"),
    Rule("TOTALS-AGREE", "critical", "the totals of the vendor's answer agree in one of the ways that invoices have"),
    Rule("SUBTOTAL-NET", "warning", "what the vendor's answer states as its subtotal is what is booked without tax"),
    Rule("SUBTOTAL-TAXED", "info", "the subtotal of the vendor's answer does not include the tax"),
    Rule("LINES-AGREE", "warning", "the lines of the vendor's answer add up to the total without tax and discount"),
    Rule("LINE-TAXES-AGREE", "warning", "the rates of the lines of the vendor's answer give its tax total"),
    Rule("FPA-TOTAL", "warning", "the total of a FatturaPA is the sum of its tax summary, its rounding and discount"),
    Rule("FPA-PAYMENT", "warning", "the payments of a FatturaPA add up to its total less what is withheld"),
    Rule("SDI-00421", "warning", "the tax of each summary is taxable amount × rate, within 0.01 (FatturaPA)"),
    Rule("SDI-00422", "warning", "each taxable amount is the sum of its lines, contributions and expenses (FatturaPA)"),
    Rule("SDI-00423", "info", "the amount of each line is price × quantity with its discounts (FatturaPA)"),
    Rule("TOTALS-STATED", "info", "the document states its totals, so that none was computed (FatturaPA)"),
    Rule("BR-DEC", "info", "no amount of the document has more than two decimals (BR-DEC-09 … BR-DEC-18)"),
    # Sense
    Rule("BR-CL-01", "warning", "the type code is one of an invoice or credit note in UNTDID 1001 (BT-3)"),
    Rule("CURRENCY-KNOWN", "critical", "the currency was one of ISO 4217 when the invoice was issued"),
    Rule("ISSUED-IN-TIME", "warning", "the issue date is between 2000-01-01 and the day after the document came"),
    Rule("DUE-AFTER-ISSUED", "warning", "the due date is not before the issue date"),
    Rule("BR-29", "info", "the period does not end before it begins (BT-73, BT-74)"),
    Rule("ONE-ACCOUNT", "info", "the invoice names one account to pay to (BT-84)"),
    Rule("NEGATIVE-TOTAL", "warning", "no total of the vendor's answer is negative"),
    # Extraction
    Rule("PAGES-READ", "warning", "every page of the document was read"),
    Rule("EXTRACTOR-SURE", "warning", "the extractor is sure of amounts, tax, currency, dates and the account"),
    Rule("EXTRACTOR-NOTE", "info", "the extractor notes nothing else"),
    Rule("SAME-HEADER", "warning", "the rows of one invoice state the same head"),
    Rule("EXTRACTOR-DUPLICATE", "warning", "the vendor has not stored an invoice with this number before"),
    Rule("XML-PDF-MISMATCH", "warning", "the page shows the total and the account of the e-invoice inside the PDF"),
    Rule("HIDDEN-TEXT", "warning", "the page of an e-invoice holds no figures or instructions that cannot be seen"),
    Rule("BROKEN-SIGNATURE", "warning", "what was signed of an e-invoice in a PDF is what is there"),
    Rule("EMBEDDED-MALWARE", "critical", "no file inside the e-invoice is a program or malware"),
    Rule("EMBEDDED-ACTIVE", "warning", "no file inside the e-invoice holds macros or objects"),
    # Newness
    Rule("DUPLICATE-CONTENT", "warning", "no earlier invoice states the same", verdict="duplicate"),
    Rule("DUPLICATE-UNDECIDED", "warning", "no earlier invoice that is still in review states the same"),
    Rule("DUPLICATE-NUMBER", "warning", "no earlier invoice of this supplier has this number and other content"),
)
