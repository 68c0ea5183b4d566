-- Grain: one per tax category and rate of an invoice, in document order.
SELECT
    invoice_id,
    tax_number::INTEGER AS tax_number,
    tax_category,
    parse_quantity(tax_rate) AS tax_rate,
    parse_amount(taxable_amount) AS taxable_amount,
    parse_amount(tax_amount) AS tax_amount,
    exemption_reason
FROM stated_taxes
ORDER BY invoice_id, tax_number
