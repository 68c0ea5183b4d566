-- Grain: one per candidate and rule about lines beside tax categories (EN 16931 BR-S-08): the taxable amount of a rate
-- is its lines − its allowances + its charges. It applies where each line, allowance and charge names its category.
WITH parts AS (
    SELECT invoice_id, tax_category, tax_rate, net_amount::DECIMAL(38, 6) AS amount
    FROM candidate_lines WHERE line_kind = 'detail'
    UNION ALL
    SELECT invoice_id, tax_category, tax_rate, amount::DECIMAL(38, 6) FROM adjustments
), decidable AS (
    SELECT invoice_id FROM parts GROUP BY invoice_id HAVING bool_and(tax_category IS NOT NULL AND amount IS NOT NULL)
), summed AS (
    SELECT invoice_id, tax_rate, sum(amount) AS parts_amount FROM parts WHERE tax_category = 'S' GROUP BY invoice_id, tax_rate
), compared AS (
    SELECT t.invoice_id, t.tax_rate, sum(t.taxable_amount) AS taxable_amount, coalesce(any_value(s.parts_amount), 0) AS parts_amount
    FROM candidate_taxes AS t
    JOIN decidable USING (invoice_id)
    JOIN component_sums AS p ON p.invoice_id = t.invoice_id AND p.line_count > 0
    LEFT JOIN summed AS s ON s.invoice_id = t.invoice_id AND s.tax_rate = t.tax_rate
    WHERE t.tax_category = 'S' AND t.taxable_amount IS NOT NULL AND t.tax_rate IS NOT NULL
    GROUP BY t.invoice_id, t.tax_rate
), wrong AS (
    SELECT invoice_id, bool_and(abs(taxable_amount - parts_amount) < 1) AS is_right,
           string_agg(format('{}%: {} is taxed, the lines make {}', format_amount(tax_rate), format_amount(taxable_amount), format_amount(parts_amount)),
                      '; ' ORDER BY tax_rate) FILTER (WHERE abs(taxable_amount - parts_amount) >= 1) AS told
    FROM compared GROUP BY invoice_id
)
SELECT c.invoice_id, 'BR-S-08' AS rule_id, decide_outcome(w.invoice_id IS NOT NULL, w.is_right) AS outcome, w.told[:500] AS message
FROM candidates AS c
LEFT JOIN wrong AS w USING (invoice_id)
UNION ALL
SELECT invoice_id, 'BR-DEC' AS rule_id, decide_outcome(true, list_bool_and([
        coalesce(amount = round(amount, 2), true) FOR amount IN [line_total_amount, discount_amount, charge_amount,
            net_amount, tax_amount, total_amount, prepaid_amount, rounding_amount, payable_amount]])) AS outcome,
       'an amount of the document has more than two decimals' AS message
FROM candidates
