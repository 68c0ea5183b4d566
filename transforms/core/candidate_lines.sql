-- Grain: one per line of an invoice, in its order; groups and information lines are kept and must not be summed.
SELECT
    invoice_id,
    line_number::INTEGER AS line_number,
    line_id,
    parent_line_id,
    line_kind,
    description,
    exact_quantity(quantity) AS quantity,
    unit,
    exact_quantity(unit_price_amount) AS unit_price_amount,
    exact_quantity(price_base_quantity) AS price_base_quantity,
    exact_quantity(net_amount) AS net_amount,
    tax_category,
    exact_quantity(tax_rate) AS tax_rate,
    NULL::DECIMAL(18, 6) AS tax_amount -- EN 16931 states tax per category and rate, never per line
FROM stated_lines
ORDER BY invoice_id, line_number
