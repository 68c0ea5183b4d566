-- Grain: one per allowance (negative amount) or charge (positive amount) on the whole of an invoice.
SELECT
    c.invoice_id,
    a.sign,
    exact_amount(a.amount) * a.sign AS amount,
    a.tax_category,
    exact_quantity(a.tax_rate) AS tax_rate
FROM stg_einvoice__adjustments AS a
JOIN stated_candidates AS c USING (document_sha256, ordinal)
