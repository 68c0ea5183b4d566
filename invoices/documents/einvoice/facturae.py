"""Spain's Facturae 3.0 to 3.2.2 as a payload (Orden PRE/2971/2007, Orden HAP/1650/2015, facturaev3_2_2.xsd).

One file is a batch of invoices of one seller to one buyer, often with an enveloped XAdES signature, which is not read.
``InvoiceTotal`` is what remains after ``TaxesWithheld``; ``TotalExecutableAmount`` is the amount due.
"""

from __future__ import annotations

from collections.abc import Iterator

from invoices.documents.einvoice.country_codes import find_alpha2_code
from invoices.documents.einvoice.decimal_texts import (
    is_zero_text,
    negate_decimal_text,
    subtract_decimal_texts,
    sum_decimal_texts,
)
from invoices.documents.einvoice.payload_values import Record, find_single_distinct_value, normalise_iso_date
from invoices.documents.einvoice.xml_tree import Element, drop_absent_values, find_text, iter_texts

# TaxTypeCode to UNTDID 5305, as far as there is a code: IPSI of Ceuta and Melilla, IGIC of the Canary Islands.
_CATEGORY_BY_TAX_TYPE = {"01": "S", "02": "M", "03": "L"}
_CATEGORY_BY_EXEMPTION = {"01": "E", "02": "O"}  # SpecialTaxableEvent: exempt, not subject to the tax
_COPY_CLASSES = frozenset({"CO", "CR", "CC"})  # InvoiceClass: copies of an original, corrective, consolidated invoice
_FULL_REPLACEMENT = "01"  # CorrectionMethod: the whole invoice is stated anew; 02 and others state differences
_SURCHARGE_CATEGORY = "RE"  # recargo de equivalencia, a part of the tax total
_PAYMENT_MEANS_WITH_ACCOUNT_OF_BUYER = frozenset({"02"})  # direct debit


def find_specification_id(root: Element) -> str | None:
    """Return the version: ``3.0``, ``3.1``, ``3.2``, ``3.2.1`` or ``3.2.2``."""
    return find_text(root, "FileHeader/SchemaVersion")


def extract_invoices(root: Element) -> list[Record]:
    """Return the invoices of a tree without namespaces; see the package for the keys."""
    seller, buyer = (_extract_party(root.find(f"Parties/{name}")) for name in ("SellerParty", "BuyerParty"))
    batch_difference = _find_batch_difference(root)
    return [
        drop_absent_values({
            **_extract_header_fields(invoice),
            "seller": seller,
            "buyer": buyer,
            **_extract_payment_fields(invoice),
            "preceding_invoices": _extract_corrected_invoice(invoice),
            "totals": _extract_totals(invoice),
            "taxes": _extract_taxes(invoice),
            "withholdings": _extract_withholdings(invoice),
            "allowances": _extract_reductions(invoice, "InvoiceTotals/GeneralDiscounts/Discount", "Discount"),
            "charges": _extract_reductions(invoice, "InvoiceTotals/GeneralSurcharges/Charge", "Charge"),
            "lines": [
                _extract_line(line, number) for number, line in enumerate(invoice.iterfind("Items/InvoiceLine"), 1)
            ],
            "batch_difference": batch_difference,
        })
        for invoice in root.iterfind("Invoices/Invoice")
    ]  # fmt: skip


def _find_batch_difference(root: Element) -> str | None:
    """Return what the header of the batch says otherwise than its invoices: their number or the sum of their totals."""
    batch = root.find("FileHeader/Batch")
    totals = [find_text(invoice, "InvoiceTotals/InvoiceTotal") for invoice in root.iterfind("Invoices/Invoice")]
    stated_count = find_text(batch, "InvoicesCount")
    if stated_count is not None and stated_count.lstrip("0") != str(len(totals) or ""):
        return f"the file states {stated_count[:20]} invoices and has {len(totals)}"
    difference = subtract_decimal_texts(
        find_text(batch, "TotalInvoicesAmount/TotalAmount"), sum_decimal_texts(totals) if None not in totals else None
    )
    if difference is None or None in totals or is_zero_text(difference):
        return None
    return f"the total of the file and the sum of its invoices differ by {difference}"


def _extract_header_fields(invoice: Element) -> Record:
    header, issue = invoice.find("InvoiceHeader"), invoice.find("InvoiceIssueData")
    invoice_class = find_text(header, "InvoiceClass")
    return {
        "invoice_number": find_text(header, "InvoiceNumber"),
        "invoice_series": find_text(header, "InvoiceSeriesCode"),
        "issue_date": _find_day(issue, "IssueDate"),
        "type_code": invoice_class,
        "document_type_code": find_text(header, "InvoiceDocumentType"),
        "kind": "invoice",
        "is_copy": "true" if invoice_class in _COPY_CLASSES else None,
        "replaces_earlier": "true" if find_text(header, "Corrective/CorrectionMethod") == _FULL_REPLACEMENT else None,
        "currency": find_text(issue, "InvoiceCurrencyCode"),
        "tax_currency": find_text(issue, "TaxCurrencyCode"),
        "delivery_date": _find_day(issue, "OperationDate"),
        "period_start": _find_day(issue, "InvoicingPeriod/StartDate"),
        "period_end": _find_day(issue, "InvoicingPeriod/EndDate"),
        "order_number": find_single_distinct_value(
            list(iter_texts(invoice, "Items/InvoiceLine/ReceiverTransactionReference"))
        ),
        "note": "\n".join(
            text for path in ("LegalLiterals/LegalReference", "AdditionalData/InvoiceAdditionalInformation")
            for text in iter_texts(invoice, path)
        ) or None,
    }  # fmt: skip


def _find_day(element: Element | None, path: str) -> str | None:
    text = find_text(element, path)
    return normalise_iso_date(text) if text else None


def _extract_party(party: Element | None) -> Record:
    """Return a legal entity or an individual. The tax number has no country prefix in Spain (ResidenceTypeCode R)."""
    if party is None:
        return {}
    entity, individual = party.find("LegalEntity"), party.find("Individual")
    person = entity if entity is not None else individual
    individual_name = " ".join(
        text for name in ("Name", "FirstSurname", "SecondSurname") if (text := find_text(individual, name))
    )
    tax_id = find_text(party, "TaxIdentification/TaxIdentificationNumber")
    is_union_vat_id = find_text(party, "TaxIdentification/ResidenceTypeCode") == "U"
    return drop_absent_values({
        "name": find_text(entity, "CorporateName") or individual_name or None,
        "trading_name": find_text(entity, "TradeName"),
        "vat_id": tax_id if is_union_vat_id else None,
        "tax_number": None if is_union_vat_id else tax_id,
        "email": find_text(person, "ContactDetails/ElectronicMail"),
        **_extract_address(person),
    })  # fmt: skip


def _extract_address(person: Element | None) -> Record:
    address = None if person is None else person.find("AddressInSpain")
    if address is None:
        address = None if person is None else person.find("OverseasAddress")
    return {
        "line1": find_text(address, "Address"),
        "postcode": find_text(address, "PostCode"),
        "city": find_text(address, "Town") or find_text(address, "PostCodeAndTown"),
        "country": find_alpha2_code(find_text(address, "CountryCode")),
    }


def _extract_payment_fields(invoice: Element) -> Record:
    """Return the due date and account if all instalments agree; several instalments are the terms of payment."""
    instalments = invoice.findall("PaymentDetails/Installment")
    due_dates = [day for instalment in instalments if (day := _find_day(instalment, "InstallmentDueDate"))]
    accounts = [
        account
        for instalment in instalments
        if find_text(instalment, "PaymentMeans") not in _PAYMENT_MEANS_WITH_ACCOUNT_OF_BUYER
        for path in ("AccountToBeCredited/IBAN", "AccountToBeCredited/AccountNumber")
        if (account := find_text(instalment, path))
    ]
    terms = [
        f"{_find_day(instalment, 'InstallmentDueDate') or ''}: {find_text(instalment, 'InstallmentAmount') or ''}"
        for instalment in instalments
    ]
    return {
        "due_date": find_single_distinct_value(due_dates),
        "payment_terms": "; ".join(terms) if len(set(due_dates)) > 1 else None,
        "iban": find_single_distinct_value(accounts),
    }


def _extract_corrected_invoice(invoice: Element) -> list[Record]:
    corrective = invoice.find("InvoiceHeader/Corrective")
    if corrective is None:
        return []
    return [
        drop_absent_values({
            "number": find_text(corrective, "InvoiceNumber"),
            "series": find_text(corrective, "InvoiceSeriesCode"),
            "relation": find_text(corrective, "CorrectionMethod"),
            "reason": find_text(corrective, "ReasonDescription"),
        })
    ]  # fmt: skip


def _extract_totals(invoice: Element) -> Record:
    totals = invoice.find("InvoiceTotals")
    withheld = find_text(totals, "TotalTaxesWithheld")
    in_kind = find_text(totals, "PaymentInKind/PaymentInKindAmount")
    kept_back = find_text(totals, "AmountsWithheld/WithholdingAmount")
    return drop_absent_values({
        "line_total": find_text(totals, "TotalGrossAmount"),
        "allowance_total": find_text(totals, "TotalGeneralDiscounts"),
        "charge_total": find_text(totals, "TotalGeneralSurcharges"),
        "tax_exclusive": find_text(totals, "TotalGrossAmountBeforeTaxes"),
        "tax_total": find_text(totals, "TotalTaxOutputs"),
        "tax_total_in_tax_currency": _find_tax_total_in_tax_currency(invoice),
        "withheld": withheld,
        "withheld_in_total": withheld,
        "tax_inclusive": find_text(totals, "InvoiceTotal"),
        "prepaid": sum_decimal_texts([
            find_text(totals, "TotalPaymentsOnAccount"),
            *iter_texts(invoice, "InvoiceTotals/Subsidies/Subsidy/SubsidyAmount"),
        ]),
        "added_after_total": sum_decimal_texts([
            find_text(totals, "TotalReimbursableExpenses"), find_text(totals, "TotalFinancialExpenses"),
            negate_decimal_text(kept_back), negate_decimal_text(in_kind),
        ]),
        "payable": find_text(totals, "TotalExecutableAmount"),
    })  # fmt: skip


def _find_tax_total_in_tax_currency(invoice: Element) -> str | None:
    amounts = list(iter_texts(invoice, "TaxesOutputs/Tax/TaxAmount/EquivalentInEuros"))
    return sum_decimal_texts(amounts)


def _find_category(tax: Element, exemption: str | None) -> str | None:
    if exemption:
        return exemption
    tax_type = find_text(tax, "TaxTypeCode")
    if tax_type == "01" and is_zero_text(find_text(tax, "TaxRate")):
        return "Z"
    return _CATEGORY_BY_TAX_TYPE.get(tax_type or "", tax_type)


def _iter_exemptions(invoice: Element) -> Iterator[tuple[str, str | None]]:
    """Yield the category and the reason of each line that is exempt or not subject to tax."""
    for line in invoice.iterfind("Items/InvoiceLine"):
        category = _CATEGORY_BY_EXEMPTION.get(find_text(line, "SpecialTaxableEvent/SpecialTaxableEventCode") or "")
        if category:
            yield category, find_text(line, "SpecialTaxableEvent/SpecialTaxableEventReason")


def _extract_taxes(invoice: Element) -> list[Record]:
    """Return the taxes; the surcharge of equivalence is a row of its own, because the tax total includes it."""
    exemptions = list(_iter_exemptions(invoice))
    exemption = find_single_distinct_value([category for category, _ in exemptions])
    reason = find_single_distinct_value([text for _, text in exemptions if text])
    rows: list[Record] = []
    for tax in invoice.iterfind("TaxesOutputs/Tax"):
        base = find_text(tax, "TaxableBase/TotalAmount")
        is_exempt = exemption is not None and is_zero_text(find_text(tax, "TaxRate"))
        rows.append({
            "category": _find_category(tax, exemption if is_exempt else None),
            "rate": find_text(tax, "TaxRate"),
            "taxable_amount": base,
            "tax_amount": find_text(tax, "TaxAmount/TotalAmount"),
            "exemption_reason": reason if is_exempt else None,
        })  # fmt: skip
        surcharge = find_text(tax, "EquivalenceSurchargeAmount/TotalAmount")
        if surcharge is not None and not is_zero_text(surcharge):
            rows.append({
                "category": _SURCHARGE_CATEGORY, "rate": find_text(tax, "EquivalenceSurcharge"),
                "taxable_amount": base, "tax_amount": surcharge,
            })  # fmt: skip
    return [drop_absent_values(row) for row in rows]


def _extract_withholdings(invoice: Element) -> list[Record]:
    return [
        drop_absent_values({
            "category": find_text(tax, "TaxTypeCode"),
            "rate": find_text(tax, "TaxRate"),
            "taxable_amount": find_text(tax, "TaxableBase/TotalAmount"),
            "amount": find_text(tax, "TaxAmount/TotalAmount"),
        })
        for tax in invoice.iterfind("TaxesWithheld/Tax")
    ]  # fmt: skip


def _extract_reductions(parent: Element, path: str, prefix: str) -> list[Record]:
    """Return the discounts or charges at ``path``; the names of their parts begin with ``prefix``."""
    return [
        drop_absent_values({
            "amount": find_text(item, f"{prefix}Amount"),
            "percentage": find_text(item, f"{prefix}Rate"),
            "reason": find_text(item, f"{prefix}Reason"),
        })
        for item in parent.iterfind(path)
    ]  # fmt: skip


def _extract_line(line: Element, number: int) -> Record:
    tax = line.find("TaxesOutputs/Tax")
    exemption = _CATEGORY_BY_EXEMPTION.get(find_text(line, "SpecialTaxableEvent/SpecialTaxableEventCode") or "")
    return drop_absent_values({
        "line_id": find_text(line, "SequenceNumber") or str(number),
        "item_id": find_text(line, "ArticleCode"),
        "description": find_text(line, "ItemDescription"),
        "note": find_text(line, "AdditionalLineItemInformation"),
        "quantity": find_text(line, "Quantity"),
        "unit": find_text(line, "UnitOfMeasure"),
        "unit_price": find_text(line, "UnitPriceWithoutTax"),
        "net_amount": find_text(line, "GrossAmount") or find_text(line, "TotalCost"),
        "tax_category": exemption if tax is None else _find_category(tax, exemption),
        "tax_rate": find_text(tax, "TaxRate"),
        "allowances": _extract_reductions(line, "DiscountsAndRebates/Discount", "Discount"),
        "charges": _extract_reductions(line, "Charges/Charge", "Charge"),
    })  # fmt: skip
