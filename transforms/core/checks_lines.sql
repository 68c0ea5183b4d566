-- Grain: one per candidate and rule about its lines (EN 16931 BR-16, BR-21 … BR-28, BR-CO-04, Peppol R120).
WITH computed AS (
    SELECT
        l.*,
        l.net_amount::DECIMAL(19, 6) * coalesce(nullif(l.price_base_quantity, 0), 1)::DECIMAL(18, 6) AS stated_net,
        (quantity::DECIMAL(19, 6) * unit_price_amount::DECIMAL(18, 6))::DECIMAL(38, 12)
            + (coalesce(a.adjustment_amount, 0)::DECIMAL(19, 6)
               * coalesce(nullif(l.price_base_quantity, 0), 1)::DECIMAL(18, 6))::DECIMAL(38, 12) AS computed_net,
        0.02::DECIMAL(4, 2) * coalesce(abs(nullif(l.price_base_quantity, 0)), 1)::DECIMAL(20, 6) AS tolerance
    FROM candidate_lines AS l
    LEFT JOIN line_adjustments AS a USING (invoice_id, line_number)
    WHERE line_kind = 'detail'
), checked AS (
    SELECT *, unnest([
        {rule_id: 'BR-21', is_broken: line_id IS NULL, problem: 'no id'},
        {rule_id: 'BR-22', is_broken: quantity IS NULL, problem: 'no quantity'},
        {rule_id: 'BR-23', is_broken: unit IS NULL, problem: 'no unit'},
        {rule_id: 'BR-24', is_broken: net_amount IS NULL, problem: 'no net amount'},
        {rule_id: 'BR-25', is_broken: description IS NULL, problem: 'no name'},
        {rule_id: 'BR-26', is_broken: unit_price_amount IS NULL, problem: 'no price'},
        {rule_id: 'BR-27', is_broken: unit_price_amount < 0, problem: 'a negative price'},
        {rule_id: 'BR-CO-04', is_broken: tax_category IS NULL, problem: 'no tax category'},
        {rule_id: 'BR-DEC-23', is_broken: net_amount != round(net_amount, 2), problem: 'a net amount of more than two decimals'},
        {rule_id: 'PEPPOL-R120', is_broken: abs(stated_net - computed_net) > tolerance,
         problem: 'a net amount other than quantity × price'}
    ], recursive := true)
    FROM computed
), by_rule AS (
    SELECT invoice_id, rule_id, bool_or(coalesce(is_broken, false)) AS is_broken,
           string_agg(line_number::VARCHAR, ', ' ORDER BY line_number) FILTER (WHERE is_broken) AS lines,
           count(*) FILTER (WHERE is_broken) AS broken_count, any_value(problem) AS problem
    FROM checked GROUP BY invoice_id, rule_id
)
SELECT p.invoice_id, r.rule_id, decide_outcome(s.invoice_id IS NOT NULL AND NOT list_contains(p.lacks, r.needed), NOT s.is_broken) AS outcome,
       format('{} in {} {}', s.problem, CASE WHEN s.broken_count = 1 THEN 'line' ELSE 'lines' END, s.lines[:100]) AS message
FROM candidate_profiles AS p
CROSS JOIN (VALUES
    ('BR-21', 'line_id'), ('BR-22', 'line_quantity'), ('BR-23', 'line_unit'), ('BR-24', 'line_net'), ('BR-25', 'line_name'),
    ('BR-26', 'line_price'), ('BR-27', 'european_sums'), ('BR-CO-04', 'line_tax'), ('BR-DEC-23', 'european_sums'), ('PEPPOL-R120', 'european_sums')
) AS r (rule_id, needed)
LEFT JOIN by_rule AS s ON s.invoice_id = p.invoice_id AND s.rule_id = r.rule_id
UNION ALL
SELECT invoice_id, 'BR-16' AS rule_id, decide_outcome(states_lines, line_count > 0) AS outcome, 'the invoice has no lines' AS message
FROM candidate_profiles JOIN component_sums USING (invoice_id)
