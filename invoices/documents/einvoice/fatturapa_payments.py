"""Payments of FatturaPA (DatiPagamento): instalments with due dates, amounts and accounts."""

from __future__ import annotations

from invoices.documents.einvoice import xml_tree
from invoices.documents.einvoice.payload_values import Record, find_single_distinct_value
from invoices.documents.einvoice.xml_tree import Element, drop_absent_values, find_text


def extract_payments(body: Element) -> Record:
    """Return every stated payment, and what all of them have in common: due date, account, payee."""
    payments = [
        drop_absent_values({
            "conditions": find_text(block, "CondizioniPagamento"),  # TP01 instalments, TP02 whole, TP03 advance
            "means_code": find_text(detail, "ModalitaPagamento"),
            "due_date": xml_tree.find_date(detail, "DataScadenzaPagamento"),
            "days": find_text(detail, "GiorniTerminiPagamento"),
            "days_from": xml_tree.find_date(detail, "DataRiferimentoTerminiPagamento"),
            "amount": find_text(detail, "ImportoPagamento"),
            "iban": find_text(detail, "IBAN"),
            "bic": find_text(detail, "BIC"),
            "payee_name": find_text(detail, "Beneficiario"),
            "reference": find_text(detail, "CodicePagamento"),
        })
        for block in body.iterfind("DatiPagamento")
        for detail in block.iterfind("DettaglioPagamento")
    ]  # fmt: skip
    due_dates = [payment["due_date"] for payment in payments if "due_date" in payment]
    ibans = [payment["iban"] for payment in payments if "iban" in payment]
    payees = [payment["payee_name"] for payment in payments if "payee_name" in payment]
    return {
        "payments": payments,
        "payment_means": [
            drop_absent_values({
                "code": payment.get("means_code"),
                "reference": payment.get("reference"),
                "iban": payment.get("iban"),
                "account_name": payment.get("payee_name"),
                "bic": payment.get("bic"),
            })
            for payment in payments
        ],
        "due_date": find_single_distinct_value(due_dates),
        "payment_terms": "; ".join(filter(None, map(_format_payment_terms, payments))) or None,
        "iban": ibans[0] if ibans else None,
        "payee_name": find_single_distinct_value(payees),
    }  # fmt: skip


def extract_payable(body: Element) -> Record:
    """Return the amount of the only payment; several instalments are added up in ``transforms/staging``."""
    amounts = [find_text(detail, "ImportoPagamento") for detail in body.iterfind("DatiPagamento/DettaglioPagamento")]
    return {"payable": amounts[0]} if len(amounts) == 1 else {}


def _format_payment_terms(payment: Record) -> str:
    start = f"{payment['days']} days from {payment.get('days_from', 'the invoice')}" if "days" in payment else None
    parts = [
        payment.get("conditions"),
        payment.get("means_code"),
        payment.get("due_date") or start,
        payment.get("amount"),
    ]
    return " ".join(part for part in parts if part)
