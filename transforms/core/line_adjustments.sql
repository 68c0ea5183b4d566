-- Grain: one per line with charges or allowances of its own: charges − allowances. A line states
-- either the single ones or their sums; the single ones take precedence.
WITH parsed_lines AS (
    SELECT
        invoice_id, line_number,
        list_sum(list_transform(charges, lambda a: parse_quantity(a)::DECIMAL(18, 6))) AS charges,
        list_sum(list_transform(discounts, lambda a: parse_quantity(a)::DECIMAL(18, 6))) AS discounts,
        parse_quantity(charge_amount) AS charge_amount,
        parse_quantity(discount_amount) AS discount_amount
    FROM stated_lines
)
SELECT invoice_id, line_number,
       TRY_CAST(coalesce(charges, charge_amount, 0) - coalesce(discounts, discount_amount, 0) AS DECIMAL(18, 6))
           AS adjustment_amount
FROM parsed_lines
WHERE coalesce(charges, charge_amount, discounts, discount_amount) IS NOT NULL
