-- Grain: one per candidate and rule about its tax categories (EN 16931 BR-45 … BR-48, BR-CO-17, -18, BR-E-10).
-- TAXABLE-SUM follows from BR-CO-13 and the BR-…-08 of all categories: what they tax together is the net amount.
-- Differences are taken times 100, so that a percentage needs no division: DuckDB divides decimals as floats.
WITH t AS (
    SELECT
        *,
        format('{} {}% of {}', coalesce(tax_category, 'no category'), format_amount(tax_rate), format_amount(taxable_amount)) AS name,
        tax_amount::DECIMAL(20, 4) * 100::DECIMAL(3, 0)
            - taxable_amount::DECIMAL(19, 4) * coalesce(tax_rate, 0)::DECIMAL(18, 6) AS difference
    FROM candidate_taxes
), summed AS (
    SELECT
        invoice_id,
        bool_and(taxable_amount IS NOT NULL) AS has_taxable,
        bool_and(tax_amount IS NOT NULL) AS has_amount,
        bool_and(tax_category IS NOT NULL) AS has_category,
        bool_and(tax_rate IS NOT NULL OR coalesce(tax_category, '') = 'O') AS has_rate,
        bool_and(exemption_reason IS NOT NULL) FILTER (WHERE tax_category IN ('E', 'AE', 'K', 'G', 'O')) AS has_reason,
        bool_or(taxable_amount IS NOT NULL AND tax_amount IS NOT NULL) AS has_both,
        sum(taxable_amount) AS taxable_total,
        count(*) AS tax_count,
        coalesce(bool_or(abs(difference) >= 100 OR (coalesce(tax_rate, 0) = 0 AND tax_amount != 0)), false) AS is_far,
        string_agg(format('{} is not {}', name, format_amount(tax_amount)), '; ' ORDER BY tax_number)
            FILTER (WHERE abs(difference) >= 100 OR (coalesce(tax_rate, 0) = 0 AND tax_amount != 0)) AS far
    FROM t GROUP BY invoice_id
)
SELECT c.invoice_id, unnest([
    {rule_id: 'BR-45', outcome: decide_outcome(s.invoice_id IS NOT NULL, has_taxable),
     message: 'a tax category has no taxable amount'},
    {rule_id: 'BR-46', outcome: decide_outcome(s.invoice_id IS NOT NULL, has_amount), message: 'a tax category has no tax amount'},
    {rule_id: 'BR-47', outcome: decide_outcome(s.invoice_id IS NOT NULL, has_category), message: 'a tax has no category'},
    {rule_id: 'BR-48', outcome: decide_outcome(s.invoice_id IS NOT NULL, has_rate), message: 'a tax category has no rate'},
    {rule_id: 'BR-CO-17', outcome: decide_outcome(s.invoice_id IS NOT NULL AND has_both, NOT is_far), message: far[:500]},
    {rule_id: 'BR-CO-18', outcome: decide_outcome(c.extracted_by = 'einvoice' AND c.profile != 'minimum',
        s.invoice_id IS NOT NULL), message: 'no tax category is stated'},
    {rule_id: 'TAXABLE-SUM', outcome: decide_outcome(coalesce(has_taxable, false) AND c.net_amount IS NOT NULL,
        abs(taxable_total - c.net_amount) < tax_count),
     message: format('the taxable amounts add up to {}, the net amount is {}', format_amount(taxable_total), format_amount(c.net_amount))},
    {rule_id: 'BR-E-10', outcome: decide_outcome(has_reason IS NOT NULL, has_reason),
     message: 'a tax category without tax gives no reason'}
], recursive := true)
FROM candidates AS c
LEFT JOIN summed AS s USING (invoice_id)
