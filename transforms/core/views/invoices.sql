-- Grain: one per accepted invoice. Amounts are as stated: those of a credit note are positive where the document states them so.
SELECT
    invoice_id, document_sha256, ordinal, extracted_by, kind, direction,
    invoice_number, issued_on, due_on, order_number,
    supplier_name, supplier_tax_id, supplier_country, supplier_iban,
    customer_name, customer_tax_id, customer_country,
    currency, line_total_amount, discount_amount, charge_amount, net_amount, tax_amount, total_amount,
    prepaid_amount, rounding_amount, payable_amount,
    other_tax_amount, withheld_amount, withheld_in_total_amount, added_after_total_amount,
    supplier_tax_number, supplier_registration_id, customer_tax_number, customer_registration_id, payee_name,
    payment_reference, further_accounts, delivered_on, buyer_reference, note, attachment_names,
    received_at, validated_at, decided_by
FROM core.candidates
WHERE verdict = 'accepted'
