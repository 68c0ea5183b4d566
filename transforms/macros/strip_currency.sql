-- An amount without the currency sign or code before or after it.
CREATE MACRO strip_currency(value) AS regexp_replace(
    regexp_replace(value, '^([+−(-]?)[\s\x{A0}]*([A-Z]{0,3}\p{Sc}|\p{Sc}[A-Z]{3}|[A-Z]{3}|kr\.?|Fr\.)[\s\x{A0}]*', '\1'),
    '[\s\x{A0}]*(\p{Sc}|[A-Z]{3}|kr\.?|Kč|zł|Ft)[\s\x{A0}]*([)−-]?)$', '\2'
)
