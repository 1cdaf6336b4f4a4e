-- Payments with a code of fixed length, known by the bank's reference, which is not the
-- primary key.
CREATE TABLE payments (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reference text UNIQUE NOT NULL,
    amount numeric NOT NULL,
    code char(4) NOT NULL DEFAULT 'IN'
);
SELECT govern('payments', '{"IN": ["OK", "NO"]}', key_column => 'reference', state_column => 'code');
INSERT INTO payments (reference, amount) SELECT 'RF' || n || '/é', n FROM generate_series(1, 13) n;
