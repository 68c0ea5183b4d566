-- Grain: one per tax category and rate of an accepted invoice.
SELECT t.invoice_id, t.tax_number, t.tax_category, t.tax_rate, t.taxable_amount, t.tax_amount, t.exemption_reason
FROM core.candidate_taxes AS t
JOIN core.candidates AS c USING (invoice_id)
WHERE c.verdict = 'accepted'
