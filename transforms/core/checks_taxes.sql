-- Grain: one per candidate and rule about its tax categories (EN 16931 BR-45 … BR-48, BR-CO-17, -18, BR-E-10).
-- TAXABLE-SUM follows from BR-CO-13 and the BR-…-08 of all categories: their taxable amounts add up to the net amount.
-- `difference` is multiplied by 100, so that a percentage needs no division: DuckDB divides decimals as binary floats.
WITH compared AS (
    SELECT
        t.*,
        concat(coalesce('category ' || tax_category, 'no category'), ': ', CASE
            WHEN tax_rate IS NULL THEN format('a tax of {} is stated without a rate', format_money(t.tax_amount, currency))
            WHEN taxable_amount IS NULL THEN format('a tax of {} is stated without a taxable amount', format_money(t.tax_amount, currency))
            ELSE format('{}% of {} is not the stated tax of {}', format_rate(tax_rate), format_money(taxable_amount, currency),
                        format_money(t.tax_amount, currency)) END) AS difference_text,
        t.tax_amount::DECIMAL(20, 4) * 100::DECIMAL(3, 0)
            - taxable_amount::DECIMAL(19, 4) * coalesce(tax_rate, 0)::DECIMAL(18, 6) AS difference
    FROM candidate_taxes AS t JOIN candidates USING (invoice_id)
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
        coalesce(bool_or(abs(difference) >= 100 OR (coalesce(tax_rate, 0) = 0 AND tax_amount != 0)), false) AS has_wrong_tax,
        string_agg(difference_text, '; ' ORDER BY tax_number)
            FILTER (WHERE abs(difference) >= 100 OR (coalesce(tax_rate, 0) = 0 AND tax_amount != 0)) AS wrong_taxes
    FROM compared GROUP BY invoice_id
)
SELECT c.invoice_id, unnest([
    {rule_id: 'BR-45', outcome: decide_outcome(s.invoice_id IS NOT NULL, has_taxable),
     message: 'a tax category has no taxable amount'},
    {rule_id: 'BR-46', outcome: decide_outcome(s.invoice_id IS NOT NULL, has_amount), message: 'a tax category has no tax amount'},
    {rule_id: 'BR-47', outcome: decide_outcome(s.invoice_id IS NOT NULL AND states_tax_category, has_category), message: 'a tax category has no code'},
    {rule_id: 'BR-48', outcome: decide_outcome(s.invoice_id IS NOT NULL, has_rate), message: 'a tax category has no rate'},
    {rule_id: 'BR-CO-17', outcome: decide_outcome(s.invoice_id IS NOT NULL AND has_both, NOT has_wrong_tax), message: wrong_taxes[:500]},
    {rule_id: 'BR-CO-18', outcome: decide_outcome(states_tax_breakdown, s.invoice_id IS NOT NULL), message: 'no tax category is stated'},
    {rule_id: 'TAXABLE-SUM', outcome: decide_outcome(coalesce(has_taxable, false) AND c.net_amount IS NOT NULL,
        abs(taxable_total - c.net_amount) < tax_count),
     message: format('the taxable amounts add up to {}, but the net amount is {}',
        format_money(taxable_total, c.currency), format_money(c.net_amount, c.currency))},
    {rule_id: 'BR-E-10', outcome: decide_outcome(has_reason IS NOT NULL AND states_exemption_reason, has_reason),
     message: 'a tax category without tax states no exemption reason'}
], recursive := true)
FROM candidates AS c
JOIN candidate_profiles USING (invoice_id)
LEFT JOIN summed AS s USING (invoice_id)
