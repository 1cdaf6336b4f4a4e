-- What a decision rests on: its hash, seen_hash, the hash in the ledger, and what keeps
-- it as it was.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_evidence;
SET search_path = test_evidence, public;

CREATE TABLE payments (id int PRIMARY KEY, state text NOT NULL DEFAULT 'pending', amount numeric, payee text, note text,
    fee numeric GENERATED ALWAYS AS (amount / 100) STORED);
SELECT govern('payments', '{"pending": ["held", "approved", "rejected"], "held": ["pending", "approved"]}', evidence => '{amount,payee}');
SELECT options FROM governed_tables() WHERE relation = 'payments'::regclass;
INSERT INTO payments SELECT n, 'pending', 10.50 * n, 'Zoë', 'note' FROM generate_series(1, 20) n;

-- The vectors of the contract, and the same by plain SQL.
CREATE FUNCTION plain_hash(VARIADIC pairs text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(sha256(string_agg(
        convert_to(pairs[i] || E'\n', 'UTF8') ||
        convert_to(coalesce(octet_length(convert_to(pairs[i + 1], 'UTF8'))::text, '-') || E'\n', 'UTF8') ||
        convert_to(coalesce(pairs[i + 1], '') || E'\n', 'UTF8'), ''::bytea ORDER BY i)), 'hex')
    FROM generate_series(1, array_length(pairs, 1), 2) i
$$;
SELECT hash_evidence(ROW(NULL::text), '{x}') = '0c2f0b06afbfc3e0e52722dbba2deffe6e832ff986eb087e4a245ec098abb49a' AS null_x,
    hash_evidence(ROW('é'::text), '{x}') = 'f45f6aeccc02de8ef72694bc66d2538b831d9058440fece9eb4d16334e8b4bbc' AS acute_x,
    plain_hash('x', NULL) = '0c2f0b06afbfc3e0e52722dbba2deffe6e832ff986eb087e4a245ec098abb49a' AS plain_null;
SELECT bool_and(evidence_hash(p) = plain_hash('amount', amount::text, 'payee', payee)) FROM payments p;
SELECT evidence_hash(NULL::payments) IS NULL AS no_row;
-- What lies in one value is not read as another and the next column.
SELECT count(DISTINCT hash_evidence(ROW(a, b), '{a,b}')) FROM (VALUES ('x', E'y\nz'), (E'x\ny', 'z'), (E'x\n3\ny', ''), ('', 'x'), ('x', ''), ('x', NULL), (NULL, 'x'), ('-', NULL), (NULL, NULL)) v (a, b);

-- Types, whatever the session has set.
CREATE TYPE mood AS ENUM ('ok', 'so so');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN positives AS positive[];
CREATE TYPE pair AS (a date, b text);
CREATE TABLE types (id int PRIMARY KEY, state text DEFAULT 'new', "Odd, ""name"" é" text, b boolean, c "char", n name, i2 int2, i8 int8, f4 float4, f8 float8,
    num numeric, m money, t text, vc varchar(10), ch char(5), by bytea, ts timestamp, tz timestamptz, d date, ti time, iv interval, u uuid, ip inet,
    j json, jb jsonb, x xml, bits bit varying, pt point, r daterange, mr int4multirange, ia int[], ta text[], e mood, dp positive, dps positives, p pair, da date[], rc regclass);
SELECT govern('types', '{"new": ["done"]}', evidence => (SELECT array_agg(attname) FROM pg_attribute WHERE attrelid = 'types'::regclass AND attnum > 2));
INSERT INTO types VALUES (1, 'new', 'x', true, 'a', 'n', 2, 8, 1.1, 0.1, 1.10, '12.34', 'é', 'vc', 'ch', '\xdeadbeef', '2026-02-01 10:00', '2026-02-01 10:00+05', '2026-02-01', '10:00', '1 day 2 hours', pid(1), '10.0.0.1',
    '{"a":  1}', '{"a":  1}', '<a/>', B'101', '(1,2)', '[2026-01-01,2026-02-01)', '{[1,3)}', '{1,NULL,3}', '{"a b",NULL,""}', 'so so', 7, '{1,2}', '(2026-02-01,b)', '{2026-02-01}', 'pg_catalog.pg_class');
INSERT INTO types (id) VALUES (2);
CREATE TABLE at_first AS SELECT id, evidence_hash(y) AS hash FROM types y;
SELECT hash = plain_hash('Odd, "name" é', 'x', 'b', 't', 'c', 'a', 'n', 'n', 'i2', '2', 'i8', '8', 'f4', '1.1', 'f8', '0.1', 'num', '1.10', 'm', '$12.34', 't', 'é', 'vc', 'vc', 'ch', 'ch   ',
    'by', '\xdeadbeef', 'ts', '2026-02-01 10:00:00', 'tz', '2026-02-01 05:00:00+00', 'd', '2026-02-01', 'ti', '10:00:00', 'iv', '1 day 02:00:00', 'u', pid(1)::text, 'ip', '10.0.0.1',
    'j', '{"a":  1}', 'jb', '{"a": 1}', 'x', '<a/>', 'bits', '101', 'pt', '(1,2)', 'r', '[2026-01-01,2026-02-01)', 'mr', '{[1,3)}', 'ia', '{1,NULL,3}', 'ta', '{"a b",NULL,""}', 'e', 'so so',
    'dp', '7', 'dps', '{1,2}', 'p', '(2026-02-01,b)', 'da', '{2026-02-01}', 'rc', 'pg_class') AS as_written FROM at_first WHERE id = 1;
SET DateStyle = 'German, DMY'; SET TimeZone = 'Asia/Kathmandu'; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = -3; SET bytea_output = 'escape'; SET search_path = pg_temp, test_evidence, public; SET quote_all_identifiers = on;
SELECT bool_and(evidence_hash(y) = hash) AS the_same FROM types y JOIN at_first USING (id);
SELECT outcome FROM try_compare_and_swap(NULL::types, 1, 'new', 'done', seen_hash => (SELECT hash FROM at_first WHERE id = 1));
UPDATE types SET state = 'done' WHERE id = 2;
SHOW DateStyle;
RESET ALL;
SET petition_cas.actor = 'tester';
SET search_path = test_evidence, public;
SELECT bool_and(evidence_hash = hash) AS recorded FROM types_fates JOIN at_first USING (id);
SELECT * FROM verify_fates('types') WHERE problem !~ '^imprudent';

-- seen_hash: what was seen is decided, and else nothing.
SELECT outcome, current_state FROM try_compare_and_swap(NULL::payments, 1, 'pending', 'approved', seen_hash => (SELECT evidence_hash(p) FROM payments p WHERE id = 1));
UPDATE payments SET amount = 99 WHERE id = 2;
SELECT outcome, current_state FROM try_compare_and_swap(NULL::payments, 2, 'pending', 'approved', seen_hash => plain_hash('amount', '21.00', 'payee', 'Zoë'));
SELECT told($$SELECT compare_and_swap(NULL::payments, 2, 'pending', 'approved', seen_hash => plain_hash('amount', '21.00', 'payee', 'Zoë'))$$);
SELECT evidence_hash(p) = plain_hash('amount', '99', 'payee', 'Zoë') FROM payments p WHERE id = 2;
SELECT compare_and_swap(NULL::payments, 2, 'pending', 'approved', seen_hash => plain_hash('amount', '99', 'payee', 'Zoë'));
-- What does not belong to the evidence may change.
UPDATE payments SET note = 'other' WHERE id = 3;
SELECT outcome FROM try_compare_and_swap(NULL::payments, 3, 'pending', 'held', seen_hash => plain_hash('amount', '31.50', 'payee', 'Zoë'), changes => '{"note": "held"}');
-- The order in which a loser is told.
SELECT key, expected, wanted, told(format($$SELECT compare_and_swap(NULL::payments, %L, %L, %L, seen_hash => repeat('0', 64))$$, key, expected, wanted))
FROM (VALUES (99, 'pending', 'approved'), (1, 'pending', 'rejected'), (3, 'pending', 'approved'), (4, 'pending', 'approved'), (3, 'held', 'rejected')) v (key, expected, wanted);
SELECT told($$SELECT compare_and_swap(NULL::payments, 3, 'held', 'rejected', seen_hash => (SELECT evidence_hash(p) FROM payments p WHERE id = 3))$$);
-- A loser is told the evidence as it is, if he may read it.
SELECT told($$SELECT compare_and_swap(NULL::payments, 3, 'pending', 'approved')$$);

-- The ledger has it for whatever SQL, sets and rows that arrive with their fate.
UPDATE payments SET state = 'approved' WHERE id IN (5, 6);
UPDATE payments SET state = 'rejected', amount = 1 WHERE id = 7;
SELECT count(*) FROM compare_and_swap_many(NULL::payments, '{8,9,10,11}'::int[], 'pending', 'rejected');
INSERT INTO payments (id, state, amount, payee) VALUES (30, 'approved', 3, NULL);
SELECT count(*), bool_and(l.evidence_hash = evidence_hash(p)) FROM payments p JOIN payments_fates l USING (id);
SELECT id, evidence_hash = plain_hash('amount', '1', 'payee', 'Zoë') FROM payments_fates WHERE id = 7;

-- Frozen with the fate.
SELECT told($$UPDATE payments SET amount = 1 WHERE id = 1$$);
SELECT told($$UPDATE payments SET payee = NULL WHERE id = 1$$);
SELECT told($$UPDATE payments SET amount = 10.5 WHERE id = 1$$);
SELECT told($$UPDATE payments SET amount = 10.50, payee = 'Zo' || 'ë', note = 'free' WHERE id = 1$$);
SELECT told($$INSERT INTO payments (id, state, amount, payee) VALUES (1, 'approved', 5, 'x') ON CONFLICT (id) DO UPDATE SET amount = 5$$);
SELECT told($$UPDATE payments SET amount = 5 WHERE id = 4$$);

-- Not both: what is decided is what was seen.
SELECT told($$SELECT compare_and_swap(NULL::payments, 4, 'pending', 'approved', '{"amount": 6}', seen_hash => plain_hash('amount', '5', 'payee', 'Zoë'))$$);
CREATE FUNCTION raise_amount() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.amount := NEW.amount + 1; RETURN NEW; END $$;
CREATE TRIGGER raise_amount BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION raise_amount();
SELECT told($$SELECT compare_and_swap(NULL::payments, 4, 'pending', 'approved', seen_hash => plain_hash('amount', '5', 'payee', 'Zoë'))$$);
SELECT told($$SELECT * FROM try_compare_and_swap(NULL::payments, 4, 'pending', 'held', seen_hash => plain_hash('amount', '5', 'payee', 'Zoë'))$$);
DROP TRIGGER raise_amount ON payments;
SELECT id, state, amount FROM payments WHERE id = 4;

-- Arguments.
SELECT told(format($$SELECT compare_and_swap(NULL::payments, 4, 'pending', 'approved', seen_hash => %L)$$, hash))
FROM unnest(ARRAY['', 'x', repeat('0', 63), repeat('0', 65), repeat('A', 64), repeat('é', 64)]) hash;
CREATE TABLE bare (id int PRIMARY KEY, state text);
SELECT govern('bare', '{"a": ["b"]}');
INSERT INTO bare VALUES (1, 'a');
SELECT told($$SELECT compare_and_swap(NULL::bare, 1, 'a', 'b', seen_hash => repeat('0', 64))$$);
SELECT told($$SELECT evidence_hash(bare) FROM bare$$);
SELECT told($$SELECT evidence_hash(ROW(1))$$);
SELECT told($$SELECT evidence_hash(p, 'none') FROM payments p$$);
SELECT told($$SELECT hash_evidence(ROW(1, 2), '{a}')$$);
SELECT told($$SELECT hash_evidence(ROW(1, 2), '{a,NULL}')$$);
SELECT hash_evidence(r, '{a}') = plain_hash('a', v) AS same FROM (VALUES (ROW(1), '1'), (ROW('x'::text), 'x'), (ROW('2026-01-01'::date), '2026-01-01')) t (r, v);
CREATE TABLE lost (a int, b int);
INSERT INTO lost VALUES (1, 2);
ALTER TABLE lost DROP COLUMN a;
SELECT told($$SELECT hash_evidence(lost, '{a,b}') FROM lost$$);
-- What is kept from one hash to the next makes none a wrong one: names in turns, more of them than are kept, types in turns, long texts.
SELECT count(*), bool_and(hash_evidence(ROW(n), ARRAY['c' || n % 40]) = plain_hash('c' || n % 40, n::text)) FROM generate_series(1, 200) n;
SELECT count(*), bool_and(hash_evidence(ROW(2), '{a}') = plain_hash('a', '2') AND hash_evidence(ROW(2), '{b}') = plain_hash('b', '2') AND hash_evidence(ROW('2.0'::numeric), '{a}') = plain_hash('a', '2.0')) FROM generate_series(1, 3);
SELECT count(*), bool_and(hash_evidence(ROW(repeat('x', n)), '{a}') = plain_hash('a', repeat('x', n))) FROM (SELECT n FROM generate_series(2030, 2060) n UNION ALL SELECT 10 UNION ALL SELECT 2050) v;
CREATE TABLE refused (id int PRIMARY KEY, state text, other text);
SELECT columns, told(format($$SELECT govern('refused', '{"a": ["b"]}', evidence => %L)$$, columns))
FROM unnest(ARRAY['{}', '{NULL}', '{none}', '{id}', '{state}', '{other,other}', '{ctid}']) columns;

-- Rights: on the columns of the evidence and on those that the swap needs, not on others.
CREATE ROLE regress_evidence;
GRANT USAGE ON SCHEMA test_evidence TO regress_evidence;
GRANT SELECT (id, state), UPDATE (state) ON payments TO regress_evidence;
SET ROLE regress_evidence;
SELECT told($$SELECT outcome FROM try_compare_and_swap(NULL::payments, 12, 'pending', 'approved', seen_hash => plain_hash('amount', '126.00', 'payee', 'Zoë'))$$);
SELECT outcome FROM try_compare_and_swap(NULL::payments, 12, 'held', 'approved');
RESET ROLE;
GRANT SELECT (amount, payee) ON payments TO regress_evidence;
SET ROLE regress_evidence;
SELECT outcome FROM try_compare_and_swap(NULL::payments, 12, 'pending', 'approved', seen_hash => plain_hash('amount', '126.00', 'payee', 'Zoë'));
RESET ROLE;
SELECT evidence_hash = plain_hash('amount', '126.00', 'payee', 'Zoë') FROM payments_fates WHERE id = 12;

-- Who may not ask for hashes is told why he lost all the same.
REVOKE EXECUTE ON FUNCTION hash_evidence FROM PUBLIC;
GRANT SELECT ON payments TO regress_evidence;
SET ROLE regress_evidence;
SELECT told($$SELECT compare_and_swap(NULL::payments, 12, 'pending', 'approved')$$);
SELECT told($$SELECT compare_and_swap(NULL::payments, 12, 'pending', 'approved', seen_hash => repeat('0', 64))$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION hash_evidence TO PUBLIC;

-- What is recorded is compared if the ledger is touched meanwhile, each row with its own.
CREATE TABLE touched (id int PRIMARY KEY, state text, amount int);
SELECT govern('touched', '{"a": ["b"]}', evidence => '{amount}');
INSERT INTO touched SELECT n, 'a', -n FROM generate_series(1, 9) n;
CREATE FUNCTION analyzed() RETURNS int LANGUAGE plpgsql AS $$ BEGIN ANALYZE test_evidence.touched_fates; RETURN 1; END $$;
ALTER TABLE touched_fates ADD COLUMN analyzed int DEFAULT analyzed();
SELECT * FROM compare_and_swap_many(NULL::touched, '{5,3,9,1}'::int[], 'a', 'b');
SELECT l.id, l.evidence_hash = evidence_hash(t) AS same FROM touched_fates l JOIN touched t USING (id) ORDER BY 1;

-- Nobody's function is taken for ours.
CREATE FUNCTION public.hash_evidence(columns record, names name[]) RETURNS text LANGUAGE internal IMMUTABLE AS 'record_out';
CREATE FUNCTION hash_evidence(columns record, names text[]) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'stranger'; END $$;
SELECT outcome FROM try_compare_and_swap(NULL::payments, 13, 'pending', 'approved', seen_hash => plain_hash('amount', '136.50', 'payee', 'Zoë'));
DROP FUNCTION public.hash_evidence(record, name[]);
DROP FUNCTION hash_evidence(record, text[]);
-- The extension may move.
CREATE SCHEMA test_evidence_moved;
ALTER EXTENSION petition_cas SET SCHEMA test_evidence_moved;
SELECT outcome FROM test_evidence_moved.try_compare_and_swap(NULL::payments, 14, 'pending', 'approved', seen_hash => plain_hash('amount', '147.00', 'payee', 'Zoë'));
ALTER EXTENSION petition_cas SET SCHEMA public;
DROP SCHEMA test_evidence_moved;
SELECT outcome FROM try_compare_and_swap(NULL::payments, 15, 'pending', 'approved', seen_hash => plain_hash('amount', '157.50', 'payee', 'Zoë'));

-- DDL that would change what was decided on.
CREATE TABLE goods (id int PRIMARY KEY, state text, kind mood, name varchar(10), place pair, twice int GENERATED ALWAYS AS (id * 2) STORED);
SELECT govern('goods', '{"a": ["b"]}', evidence => '{kind,name,place,twice}');
INSERT INTO goods VALUES (1, 'b', 'ok', 'thing', '(2026-02-01,x)');
SELECT command, told(command) FROM unnest(ARRAY[
    'ALTER TABLE goods DROP COLUMN name', 'ALTER TABLE goods RENAME name TO title', 'ALTER TABLE goods ALTER name TYPE text', 'ALTER TABLE goods ALTER name TYPE varchar(5)',
    $$ALTER TABLE goods ALTER name TYPE varchar(20) USING 'x'$$, 'ALTER TABLE goods ALTER name TYPE varchar(20)', 'ALTER TABLE goods DROP COLUMN twice', 'ALTER TABLE goods DROP COLUMN name, ADD name text',
    'ALTER TYPE mood RENAME VALUE ''ok'' TO ''fine''', 'ALTER TYPE pair ALTER ATTRIBUTE b TYPE varchar CASCADE', 'ALTER TYPE pair ADD ATTRIBUTE c int CASCADE', 'DROP TYPE mood CASCADE']) command;
SELECT * FROM verify_fates('goods') WHERE problem !~ '^imprudent';

-- A view may get more columns, unless its rows are keys or evidence.
CREATE VIEW looked AS SELECT 1 AS a, 'x'::text AS b;
CREATE TABLE viewed (id int PRIMARY KEY, state text, what looked[]);
SELECT govern('viewed', '{"a": ["b"]}', evidence => '{what}');
INSERT INTO viewed VALUES (1, 'b', ARRAY[ROW(1, 'x')::looked]);
SELECT told($$CREATE OR REPLACE VIEW looked AS SELECT 2 AS a, 'y'::text AS b$$);
SELECT told($$CREATE OR REPLACE VIEW looked AS SELECT 1 AS a, 'x'::text AS b, 3 AS c$$);
SELECT * FROM verify_fates('viewed') WHERE problem !~ '^imprudent';
SELECT ungovern('viewed');
CREATE TABLE keyed (id looked PRIMARY KEY, state text);
SELECT govern('keyed', '{"a": ["b"]}');
SELECT told($$CREATE OR REPLACE VIEW looked AS SELECT 1 AS a, 'x'::text AS b, 3 AS c$$);
DROP TABLE keyed, keyed_fates;
SELECT told($$CREATE OR REPLACE VIEW looked AS SELECT 1 AS a, 'x'::text AS b, 3 AS c$$);

-- Found out, where somebody could.
SET petition_cas.allow_unguard = on;
ALTER TABLE payments DISABLE TRIGGER petition_cas_guard;
UPDATE payments SET amount = 0 WHERE id = 5;
ALTER TABLE payments ENABLE ALWAYS TRIGGER petition_cas_guard;
RESET petition_cas.allow_unguard;
SELECT * FROM verify_fates('payments') WHERE problem !~ '^imprudent';
SELECT ungovern('payments');
SELECT told($$SELECT govern('payments', '{"pending": ["held", "approved", "rejected"], "held": ["pending", "approved"]}', evidence => '{amount,payee}')$$);
UPDATE payments SET amount = 52.50 WHERE id = 5;
SELECT govern('payments', '{"pending": ["held", "approved", "rejected"], "held": ["pending", "approved"]}', evidence => '{amount,payee}');
SELECT * FROM verify_fates('payments') WHERE problem !~ '^imprudent';
-- Fates from before are hashed as they are when they are recorded; another evidence needs another ledger.
SELECT ungovern('payments');
SELECT told($$SELECT govern('payments', '{"pending": ["held", "approved", "rejected"], "held": ["pending", "approved"]}', evidence => '{amount}')$$);
ALTER TABLE payments_fates RENAME TO payments_old_fates;
SELECT govern('payments', '{"pending": ["held", "approved", "rejected"], "held": ["pending", "approved"]}', evidence => '{amount}');
SELECT count(*), bool_and(evidence_hash = plain_hash('amount', amount::text)) FROM payments_fates JOIN payments USING (id);
SELECT * FROM verify_fates('payments') WHERE problem !~ '^imprudent';
SET session_replication_role = replica;
INSERT INTO payments (id, state, amount) VALUES (40, 'approved', 4);
RESET session_replication_role;
SELECT backfill_fates('payments');
SELECT evidence_hash = plain_hash('amount', '4') FROM payments_fates WHERE id = 40;

-- A lifecycle has its own evidence; partitions have the columns where they have them.
CREATE TABLE sales (id int, day date, state text, price int, paid text, iban text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE sales_2 (dropped int, iban text, price int, id int NOT NULL, day date NOT NULL, paid text, state text);
ALTER TABLE sales_2 DROP COLUMN dropped;
ALTER TABLE sales ATTACH PARTITION sales_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
SELECT govern('sales', '{"open": ["sold"]}', evidence => '{price}');
SELECT govern('sales', '{"due": ["paid"]}', state_column => 'paid', evidence => '{price,iban}');
INSERT INTO sales VALUES (1, '2026-01-01', 'open', 5, 'due', 'DE'), (2, '2026-02-01', 'open', 6, 'due', 'AT');
SELECT evidence_hash(s, 'state') = plain_hash('price', price::text), evidence_hash(s, 'paid') = plain_hash('price', price::text, 'iban', iban) FROM sales s ORDER BY id;
SELECT told($$SELECT evidence_hash(s) FROM sales s$$);
SELECT outcome FROM try_compare_and_swap(NULL::sales, '[1, "2026-01-01"]', 'due', 'paid', seen_hash => plain_hash('price', '5', 'iban', 'DE'), state_column => 'paid');
SELECT outcome FROM try_compare_and_swap(NULL::sales, '[2, "2026-02-01"]', 'due', 'paid', seen_hash => plain_hash('price', '5', 'iban', 'AT'), state_column => 'paid');
SELECT outcome FROM try_compare_and_swap('sales'::regclass, '[2, "2026-02-01"]', 'due', 'paid', seen_hash => plain_hash('price', '6', 'iban', 'AT'), state_column => 'paid');
SELECT told($$UPDATE sales SET iban = 'CH' WHERE id = 2$$);
SELECT told($$UPDATE sales SET price = 7 WHERE id = 2$$);
SELECT outcome FROM try_compare_and_swap('sales'::regclass, '[2, "2026-02-01"]', 'open', 'sold', seen_hash => plain_hash('price', '6'), state_column => 'state');
SELECT l.id, l.evidence_hash = plain_hash('price', '6', 'iban', 'AT') FROM sales_paid_fates l WHERE id = 2;
SELECT evidence_hash(s, 'state') = plain_hash('price', '6') FROM sales_2 s;
SELECT * FROM verify_fates('sales') WHERE problem !~ '^imprudent';

-- Of a key that lost its row the same fate comes back with the same evidence alone.
ALTER TABLE sales DETACH PARTITION sales_2;
SELECT told($$INSERT INTO sales_1 (id, day, state, price, paid, iban) VALUES (1, '2026-01-02', 'sold', 1, 'due', 'x')$$);
CREATE TABLE sales_3 PARTITION OF sales FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
SELECT told($$INSERT INTO sales VALUES (2, '2026-02-01', 'sold', 7, 'paid', 'AT')$$);
SELECT told($$INSERT INTO sales VALUES (2, '2026-02-01', 'sold', 6, 'paid', 'AT')$$);

-- Petitions, where somebody gives them evidence.
CREATE SCHEMA test_evidence_petitions;
SET search_path = test_evidence_petitions, public;
SELECT create_petitions();
INSERT INTO petition_submissions (id, text) SELECT pid(n), 'text ' || n FROM generate_series(1, 5) n;
SELECT told($$SELECT assign_fate(pid(1), 'RECEIVED', 'ACKNOWLEDGED', seen_hash => repeat('0', 64))$$);
SELECT ungovern('petition_submissions');
SELECT govern('petition_submissions', petition_lifecycle(), evidence => '{type,text}');
SELECT evidence_hash(p) = test_evidence.plain_hash('type', 'GENERAL', 'text', 'text 1') FROM petition_submissions p WHERE id = pid(1);
SELECT told($$SELECT assign_fate(pid(1), 'RECEIVED', 'ACKNOWLEDGED', seen_hash => repeat('0', 64))$$);
SELECT state, fate_reason FROM assign_fate(pid(1), 'RECEIVED', 'ACKNOWLEDGED', 'fine', seen_hash => test_evidence.plain_hash('type', 'GENERAL', 'text', 'text 1'));
SELECT outcome FROM try_assign_fate(pid(2), 'RECEIVED', 'ACKNOWLEDGED', seen_hash => test_evidence.plain_hash('type', 'GENERAL', 'text', 'text 2'));
SELECT outcome FROM try_assign_fate(pid(3), 'RECEIVED', 'ACKNOWLEDGED', 'why', test_evidence.plain_hash('type', 'GENERAL', 'text', 'text 2'));
SELECT outcome FROM assign_fates(ARRAY[pid(3), pid(4)], 'RECEIVED', 'ACKNOWLEDGED');
SELECT count(*), bool_and(l.evidence_hash = evidence_hash(p)) FROM petition_submissions p JOIN petition_submissions_fates l USING (id);

RESET search_path;
DROP SCHEMA test_evidence_petitions CASCADE;
DROP SCHEMA test_evidence CASCADE;
DROP ROLE regress_evidence;
