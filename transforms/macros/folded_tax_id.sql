-- A tax id for comparing: upper-case letters and digits only.
CREATE MACRO folded_tax_id(said) AS nullif(regexp_replace(upper(said), '[^A-Z0-9]', '', 'g'), '')
