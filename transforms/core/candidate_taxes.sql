-- Grain: one per tax category and rate of an invoice, in its order.
SELECT
    invoice_id,
    tax_number::INTEGER AS tax_number,
    tax_category,
    exact_quantity(tax_rate) AS tax_rate,
    exact_amount(taxable_amount) AS taxable_amount,
    exact_amount(tax_amount) AS tax_amount,
    exemption_reason
FROM stated_taxes
ORDER BY invoice_id, tax_number
