-- Grain: one per candidate: the sums of its lines, taxes, allowances and charges, to compare with its totals; NULL where
-- it has none. Groups and information lines repeat other lines, so they are not summed.
WITH lines AS (
    SELECT invoice_id, count(*) AS line_count, sum(net_amount) AS lines_amount
    FROM candidate_lines WHERE line_kind = 'detail' GROUP BY invoice_id
), taxes AS (
    SELECT invoice_id, count(*) AS tax_count, sum(tax_amount) AS taxes_amount, sum(taxable_amount) AS taxable_amount
    FROM candidate_taxes GROUP BY invoice_id
), adjustments AS (
    SELECT invoice_id,
           -sum(amount) FILTER (WHERE sign = -1) AS allowances_amount,
           sum(amount) FILTER (WHERE sign = 1) AS charges_amount
    FROM adjustments GROUP BY invoice_id
)
SELECT
    invoice_id,
    coalesce(line_count, 0) AS line_count, lines_amount,
    coalesce(tax_count, 0) AS tax_count, taxes_amount, taxable_amount,
    allowances_amount, charges_amount
FROM candidates
LEFT JOIN lines USING (invoice_id)
LEFT JOIN taxes USING (invoice_id)
LEFT JOIN adjustments USING (invoice_id)
