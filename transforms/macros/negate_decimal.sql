-- A plain decimal with the opposite sign; any other text unchanged.
CREATE MACRO negate_decimal(value) AS CASE
    WHEN parse_quantity(value) IS NULL AND parse_amount(value) IS NULL THEN value
    WHEN value ^@ '-' THEN value[2:]
    ELSE '-' || ltrim(value, '+')
END
