-- Grain: one per candidate and rule about lines and tax categories (EN 16931 BR-S-08): the taxable amount of a rate
-- is the sum of its lines − allowances + charges. The rule applies where each line, allowance and charge states its category.
WITH components AS (
    SELECT invoice_id, tax_category, tax_rate, net_amount::DECIMAL(38, 6) AS amount
    FROM candidate_lines WHERE line_kind = 'detail'
    UNION ALL
    SELECT invoice_id, tax_category, tax_rate, amount::DECIMAL(38, 6) FROM adjustments
), decidable AS (
    SELECT invoice_id FROM components GROUP BY invoice_id HAVING bool_and(tax_category IS NOT NULL AND amount IS NOT NULL)
), summed AS (
    SELECT invoice_id, tax_rate, sum(amount) AS components_amount FROM components WHERE tax_category = 'S' GROUP BY invoice_id, tax_rate
), compared AS (
    SELECT t.invoice_id, any_value(c.currency) AS currency, t.tax_rate, sum(t.taxable_amount) AS taxable_amount, coalesce(any_value(s.components_amount), 0) AS components_amount
    FROM candidate_taxes AS t
    JOIN candidates AS c USING (invoice_id)
    JOIN decidable USING (invoice_id)
    JOIN component_sums AS p ON p.invoice_id = t.invoice_id AND p.line_count > 0
    LEFT JOIN summed AS s ON s.invoice_id = t.invoice_id AND s.tax_rate = t.tax_rate
    WHERE t.tax_category = 'S' AND t.taxable_amount IS NOT NULL AND t.tax_rate IS NOT NULL
    GROUP BY t.invoice_id, t.tax_rate
), by_invoice AS (
    SELECT invoice_id, bool_and(abs(taxable_amount - components_amount) < 1) AS is_matching,
           string_agg(format('at {}% the taxable amount is {}, but lines, allowances and charges add up to {}', format_rate(tax_rate),
                             format_money(taxable_amount, currency), format_money(components_amount, currency)),
                      '; ' ORDER BY tax_rate) FILTER (WHERE abs(taxable_amount - components_amount) >= 1) AS differences
    FROM compared GROUP BY invoice_id
)
SELECT c.invoice_id, 'BR-S-08' AS rule_id, decide_outcome(b.invoice_id IS NOT NULL AND p.has_european_sums, b.is_matching) AS outcome, b.differences[:500] AS message
FROM candidates AS c
JOIN candidate_profiles AS p USING (invoice_id)
LEFT JOIN by_invoice AS b USING (invoice_id)
UNION ALL
SELECT invoice_id, 'BR-DEC' AS rule_id, decide_outcome(true, list_bool_and([
        coalesce(amount = round(amount, 2), true) FOR amount IN [line_total_amount, discount_amount, charge_amount,
            net_amount, tax_amount, total_amount, prepaid_amount, rounding_amount, payable_amount,
            other_tax_amount, withheld_amount, added_after_total_amount]])) AS outcome,
       'an amount of the document has more than two decimals' AS message
FROM candidates
