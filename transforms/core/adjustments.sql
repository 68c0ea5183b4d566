-- Grain: one per allowance (negative amount) or charge (positive amount) on a whole invoice.
SELECT
    c.invoice_id,
    a.sign,
    parse_amount(a.amount) * a.sign AS amount,
    a.tax_category,
    parse_quantity(a.tax_rate) AS tax_rate
FROM stg_einvoice__adjustments AS a
JOIN stated_candidates AS c USING (document_sha256, ordinal)
