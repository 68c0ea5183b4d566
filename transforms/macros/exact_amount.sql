-- A text as DECIMAL(18,4) if it is a plain decimal that fits without rounding, else NULL. (CAST alone would round.)
CREATE MACRO exact_amount(said) AS
    CASE WHEN regexp_full_match(said, '[+-]?(0*[0-9]{1,14}(\.[0-9]{0,4}0*)?|\.[0-9]{1,4}0*)')
         THEN TRY_CAST(said AS DECIMAL(18, 4)) END
