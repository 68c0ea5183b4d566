-- A text as DECIMAL(28,8) if it is a plain decimal that fits without rounding, else NULL: FatturaPA states eight decimals for lines.
CREATE MACRO parse_line_amount(value) AS
    CASE WHEN regexp_full_match(value, '[+-]?(0*[0-9]{1,20}(\.[0-9]{0,8}0*)?|\.[0-9]{1,8}0*)') THEN TRY_CAST(value AS DECIMAL(28, 8)) END
