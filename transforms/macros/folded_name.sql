-- A name for comparing: letters and digits only, lower case, composed accents.
CREATE MACRO folded_name(said) AS
    nullif(regexp_replace(lower(nfc_normalize(said)), '[^\p{L}\p{N}]', '', 'g'), '')
