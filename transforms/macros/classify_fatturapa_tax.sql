-- The tax category of FatturaPA, which states only a rate and a code of Natura: that of the code (natura_codes), S for a rate above 0.
CREATE MACRO classify_fatturapa_tax(rate, natura_code, category_of_code) AS
    CASE WHEN natura_code IS NOT NULL THEN category_of_code WHEN parse_quantity(rate) > 0 THEN 'S' END
