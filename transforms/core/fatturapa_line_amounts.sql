-- Grain: one per line of a FatturaPA document that states a price: its amount as stated, and as price × quantity. A discount or
-- surcharge is for one unit, an amount counts before a percentage, whatever its sign, and each applies to what the last one has
-- left. A quantity that is not stated is 1. NULL where a number is too long.
WITH lines AS (
    SELECT
        document_sha256, ordinal, line_number, net_amount,
        TRY_CAST(parse_line_amount(unit_price_amount) AS DECIMAL(20, 10)) AS price,
        TRY_CAST(parse_line_amount(coalesce(quantity, '1')) AS DECIMAL(18, 8)) AS quantity,
        [{price: NULL::DECIMAL(20, 10),
          amount: CASE a.type WHEN 'SC' THEN -1 ELSE 1 END * TRY_CAST(abs(parse_line_amount(a.amount)) AS DECIMAL(19, 8)),
          percentage: CASE a.type WHEN 'SC' THEN -1 ELSE 1 END * TRY_CAST(parse_quantity(a.percentage) AS DECIMAL(9, 6))}
         FOR a IN coalesce(price_adjustments, [])] AS steps
    FROM stg_einvoice__lines
    WHERE syntax = 'fatturapa' AND unit_price_amount IS NOT NULL
), discounted AS (
    SELECT * EXCLUDE (price), list_reduce(
        steps,
        lambda unit, step: {
            price: TRY_CAST(coalesce(unit.price + step.amount, unit.price + unit.price * step.percentage * 0.01::DECIMAL(3, 2)) AS DECIMAL(20, 10)),
            amount: NULL::DECIMAL(20, 8), percentage: NULL::DECIMAL(10, 6)},
        {price: price, amount: NULL::DECIMAL(20, 8), percentage: NULL::DECIMAL(10, 6)}
    ).price AS unit_price
    FROM lines
)
SELECT document_sha256, ordinal, line_number, parse_line_amount(net_amount) AS stated_amount, unit_price * quantity AS computed_amount
FROM discounted
