-- The amount without tax in an amount with tax, as text: gross − tax if the tax is stated, else gross × 100 / (100 + rate), rounded
-- half up to hundredths. In whole numbers, because DuckDB divides decimals as binary floats. NULL if a value is not exact.
CREATE MACRO compute_net_of_gross(gross, rate, tax) AS CASE
    WHEN tax IS NOT NULL THEN (parse_amount(gross) - parse_amount(tax))::VARCHAR
    WHEN parse_amount(gross) = round(parse_amount(gross), 2) AND parse_quantity(coalesce(rate, '0')) BETWEEN 0 AND 1000 THEN
        (sign(parse_amount(gross))::DECIMAL(1, 0) * (
            (2 * (abs(parse_amount(gross)) * 100)::HUGEINT * 100000000 + 100000000 + (parse_quantity(coalesce(rate, '0')) * 1000000)::HUGEINT)
            // (2 * (100000000 + (parse_quantity(coalesce(rate, '0')) * 1000000)::HUGEINT))
        )::DECIMAL(20, 0) * 0.01::DECIMAL(3, 2))::DECIMAL(18, 2)::VARCHAR
END
