-- A key by which a candidate is recognised when it arrives again. The keys are stored, so what is hashed must not change.
CREATE MACRO duplicate_key(kind_of_key, supplier, number, class) AS
    CASE WHEN supplier IS NOT NULL THEN sha256(concat_ws(chr(31), kind_of_key, supplier, number, class))[:32] END
