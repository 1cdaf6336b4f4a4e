-- The tables of the demos, in an empty database that has the extension:
-- petitions, payments that are decided on what was seen, and parcels with a
-- key of two columns.

SELECT create_petitions();
INSERT INTO petition_submissions (id, text, realm)
SELECT format('00000000-0000-4000-8000-00000000000%s', n)::uuid, 'Plant a tree.', CASE WHEN n > 3 THEN 'north' ELSE 'south' END
  FROM generate_series(1, 7) n;

CREATE TABLE payments (
    id bigint PRIMARY KEY,
    state text NOT NULL DEFAULT 'pending',
    payee text NOT NULL,
    amount numeric NOT NULL
);
SELECT govern('payments', '{"pending": ["approved", "rejected"]}', evidence => '{payee,amount}');
INSERT INTO payments (id, payee, amount) SELECT n, 'Zoë', 99.50 FROM generate_series(1, 20) n;

CREATE TABLE parcels (
    tenant integer,
    id bigint,
    state text NOT NULL DEFAULT 'packing',
    PRIMARY KEY (tenant, id)
);
SELECT govern('parcels', '{"packing": ["shipped"], "shipped": ["delivered", "lost"]}');
INSERT INTO parcels SELECT 7, generate_series(1, 3);
