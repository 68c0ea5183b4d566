-- Grain: one per line of an invoice, in document order. Groups and information lines are included and must not be summed.
SELECT
    invoice_id,
    line_number::INTEGER AS line_number,
    line_id,
    parent_line_id,
    line_kind,
    description,
    parse_quantity(quantity) AS quantity,
    unit,
    parse_quantity(unit_price_amount) AS unit_price_amount,
    parse_quantity(price_base_quantity) AS price_base_quantity,
    parse_quantity(net_amount) AS net_amount,
    tax_category,
    parse_quantity(tax_rate) AS tax_rate,
    NULL::DECIMAL(18, 6) AS tax_amount -- EN 16931 states tax per category and rate, never per line
FROM stated_lines
ORDER BY invoice_id, line_number
