-- Grain: one per supplier, month of issue and currency: accepted expenses; credit notes count negative.
-- A supplier is identified by its tax id, else by its name, both normalised. Sums are DECIMAL(38,4).
WITH signed AS (
    SELECT
        *,
        CASE WHEN kind = 'credit_note' THEN -1 ELSE 1 END AS sign,
        coalesce(
            nullif(regexp_replace(upper(supplier_tax_id), '[^A-Z0-9]', '', 'g'), ''),
            nullif(regexp_replace(lower(supplier_name), '[^\p{L}\p{N}]', '', 'g'), ''),
            'unknown'
        ) AS supplier_key
    FROM core.invoices
    WHERE direction = 'expense'
)
SELECT
    supplier_key,
    max_by(supplier_name, (issued_on, invoice_id)) AS supplier_name,
    max_by(supplier_tax_id, (issued_on, invoice_id)) AS supplier_tax_id,
    date_trunc('month', issued_on)::DATE AS month_starts_on,
    currency,
    count(*) AS invoice_count,
    sum(net_amount * sign) AS net_amount,
    sum(tax_amount * sign) AS tax_amount,
    sum(total_amount * sign) AS total_amount
FROM signed
GROUP BY supplier_key, month_starts_on, currency
ORDER BY supplier_key, month_starts_on, currency
