-- Grain: one per line of an accepted invoice; do not sum lines whose line_kind is not 'detail'.
SELECT
    l.invoice_id, l.line_number, l.line_id, l.parent_line_id, l.line_kind, l.description, l.quantity, l.unit,
    l.unit_price_amount, l.price_base_quantity, l.net_amount, l.tax_category, l.tax_rate, l.tax_amount
FROM core.candidate_lines AS l
JOIN core.candidates AS c USING (invoice_id)
WHERE c.verdict = 'accepted'
