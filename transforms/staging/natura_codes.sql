-- Grain: one per code of Natura, by which FatturaPA says why there is no tax (Agenzia delle Entrate, specifications of the
-- format, 2.2.2.2), with the tax category of EN 16931 (UNCL 5305) that means the same. The codes without a point are those
-- until 2020. N3 (not taxed) is any of exports, deliveries within the EU and other cases, so it is only exempt.
SELECT natura_code, tax_category FROM (VALUES
    ('N1', 'O'), -- not part of the taxable amount, article 15
    ('N2', 'O'), ('N2.1', 'O'), ('N2.2', 'O'), -- not subject
    ('N3', 'E'), ('N3.1', 'G'), ('N3.2', 'K'), ('N3.3', 'G'), ('N3.4', 'G'), ('N3.5', 'E'), ('N3.6', 'E'),
    ('N4', 'E'), -- exempt, article 10
    ('N5', 'E'), -- margin scheme
    ('N6', 'AE'), ('N6.1', 'AE'), ('N6.2', 'AE'), ('N6.3', 'AE'), ('N6.4', 'AE'), ('N6.5', 'AE'), ('N6.6', 'AE'),
    ('N6.7', 'AE'), ('N6.8', 'AE'), ('N6.9', 'AE'), -- reverse charge
    ('N7', 'O') -- taxed in another country of the EU
) AS n (natura_code, tax_category)
