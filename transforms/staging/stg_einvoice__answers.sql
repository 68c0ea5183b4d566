-- Grain: one per document read as an e-invoice; `parsed` has the structure that the e-invoice extractor writes, every value a text.
SELECT
    document_sha256,
    from_json(payload, '{
        "syntax": "VARCHAR", "profile": "VARCHAR", "attachments": ["VARCHAR"],
        "invoices": [{
            "invoice_number": "VARCHAR", "issue_date": "VARCHAR", "due_date": "VARCHAR", "type_code": "VARCHAR",
            "kind": "VARCHAR", "currency": "VARCHAR", "order_number": "VARCHAR", "payment_terms": "VARCHAR",
            "period_start": "VARCHAR", "period_end": "VARCHAR", "iban": "VARCHAR",
            "delivery_date": "VARCHAR", "buyer_reference": "VARCHAR", "note": "VARCHAR", "payee_name": "VARCHAR",
            "payment_means": [{"reference": "VARCHAR", "iban": "VARCHAR"}],
            "seller": {"name": "VARCHAR", "vat_id": "VARCHAR", "tax_number": "VARCHAR", "legal_id": "VARCHAR",
                       "country": "VARCHAR", "city": "VARCHAR", "postcode": "VARCHAR", "line1": "VARCHAR"},
            "buyer": {"name": "VARCHAR", "vat_id": "VARCHAR", "tax_number": "VARCHAR", "legal_id": "VARCHAR",
                      "country": "VARCHAR", "city": "VARCHAR", "postcode": "VARCHAR", "line1": "VARCHAR"},
            "totals": {"line_total": "VARCHAR", "allowance_total": "VARCHAR", "charge_total": "VARCHAR",
                       "tax_exclusive": "VARCHAR", "tax_total": "VARCHAR", "tax_inclusive": "VARCHAR",
                       "prepaid": "VARCHAR", "rounding": "VARCHAR", "payable": "VARCHAR", "other_taxes": "VARCHAR",
                       "withheld": "VARCHAR", "withheld_in_total": "VARCHAR", "added_after_total": "VARCHAR"},
            "taxes": [{"category": "VARCHAR", "rate": "VARCHAR", "taxable_amount": "VARCHAR",
                       "tax_amount": "VARCHAR", "exemption_reason": "VARCHAR", "exemption_code": "VARCHAR",
                       "tax_due": "VARCHAR", "rounding": "VARCHAR", "incidental_expenses": "VARCHAR"}],
            "allowances": [{"amount": "VARCHAR", "tax_category": "VARCHAR", "tax_rate": "VARCHAR",
                            "reason_code": "VARCHAR", "exemption_code": "VARCHAR"}],
            "charges": [{"amount": "VARCHAR", "tax_category": "VARCHAR", "tax_rate": "VARCHAR",
                         "reason_code": "VARCHAR", "exemption_code": "VARCHAR"}],
            "withholdings": [{"amount": "VARCHAR"}],
            "payments": [{"amount": "VARCHAR", "due_date": "VARCHAR", "conditions": "VARCHAR"}], "stamp_duty": "VARCHAR",
            "lines": [{"line_id": "VARCHAR", "parent_line_id": "VARCHAR", "line_kind": "VARCHAR",
                       "description": "VARCHAR", "note": "VARCHAR", "quantity": "VARCHAR", "unit": "VARCHAR",
                       "unit_price": "VARCHAR", "gross_price": "VARCHAR", "price_base_quantity": "VARCHAR",
                       "net_amount": "VARCHAR", "tax_category": "VARCHAR", "tax_rate": "VARCHAR",
                       "allowance_total": "VARCHAR", "charge_total": "VARCHAR",
                       "allowances": [{"amount": "VARCHAR"}], "charges": [{"amount": "VARCHAR"}],
                       "gross_amount": "VARCHAR", "tax_amount": "VARCHAR", "exemption_code": "VARCHAR",
                       "exemption_reason": "VARCHAR",
                       "price_adjustments": [{"type": "VARCHAR", "percentage": "VARCHAR", "amount": "VARCHAR"}]}]
        }]
    }') AS parsed
FROM answers
WHERE extracted_by = 'einvoice' AND payload IS NOT NULL
