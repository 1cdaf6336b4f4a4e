-- The calls that make a table governed as it is, and a call that is made again.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA "Test govern_ddl";
SET search_path = "Test govern_ddl", public;
CREATE TABLE "Odd 'n"" {}" ("A, b" int, c date, state text, "paid \ for" int, amount int, "é'" text, PRIMARY KEY (c, "A, b"));
SELECT govern('"Odd ''n"" {}"', '{"new": ["sent''s", "lo\"st\\"], "sent''s": ["back"]}', initial_states => '{new,sent''s}', evidence => '{é'',amount}', keep_rows => false);
SELECT govern('"Odd ''n"" {}"', '{"1": ["2"]}', state_column => 'paid \ for');
SELECT govern_ddl('"Odd ''n"" {}"');
SELECT govern_ddl('"Odd ''n"" {}"', 'paid \ for');
CREATE TABLE orders (id int PRIMARY KEY, number int UNIQUE NOT NULL, status text);
SELECT govern('orders', '{"a": ["b"]}', 'number', 'status');
SELECT govern_ddl('orders');

-- A key of several columns is the primary key, even while that is missing.
BEGIN;
SET LOCAL petition_cas.allow_unguard = on;
ALTER TABLE "Odd 'n"" {}" DROP CONSTRAINT "Odd 'n"" {}_pkey";
SELECT govern_ddl('"Odd ''n"" {}"', 'paid \ for');
ROLLBACK;
BEGIN;
ALTER TABLE "Odd 'n"" {}" ADD UNIQUE (c, "A, b");
ALTER TABLE "Odd 'n"" {}" DROP CONSTRAINT "Odd 'n"" {}_pkey", ADD PRIMARY KEY (amount);
SELECT told($$SELECT govern_ddl('"Odd ''n"" {}"', 'paid \ for')$$);
ROLLBACK;

-- What it says is what was done.
CREATE TABLE kept AS SELECT relation::text, state_column, key_columns, ledger::text, lifecycle, options FROM governed_tables() WHERE relation IN ('orders'::regclass, '"Odd ''n"" {}"'::regclass);
SELECT govern_ddl('"Odd ''n"" {}"') || govern_ddl('orders') AS calls \gset
SELECT ungovern('"Odd ''n"" {}"', c) FROM unnest(ARRAY['paid \ for', 'state']) c;
SELECT ungovern('orders');
SELECT count(*) FROM governed_tables() WHERE relation = 'orders'::regclass;
SET search_path = pg_catalog;
:calls
SET search_path = "Test govern_ddl", public;
TABLE kept EXCEPT SELECT relation::text, state_column, key_columns, ledger::text, lifecycle, options FROM governed_tables();
SELECT count(*) FROM kept;

-- Called again, it changes nothing, and nobody has to wait for that.
BEGIN;
SELECT told($$SELECT govern('orders', '{"a": ["b"]}', 'number', 'status')$$);
SELECT mode FROM pg_locks WHERE relation = 'orders'::regclass AND pid = pg_backend_pid() ORDER BY 1;
COMMIT;
SELECT told($$SELECT govern('"Odd ''n"" {}"', '{"sent''s": ["back"], "new": ["lo\"st\\", "sent''s"]}', initial_states => '{sent''s,new}', evidence => '{é'',amount}', keep_rows => false)$$);
SELECT told($$SELECT govern('orders', '{"a": ["b"]}', state_column => 'status')$$);
TABLE kept EXCEPT SELECT relation::text, state_column, key_columns, ledger::text, lifecycle, options FROM governed_tables();
-- A lifecycle that has more extends it; one that has less, or another, is refused, and so is all else.
SELECT told($$SELECT govern('orders', '{"a": ["b", "c"], "c": ["d"]}', state_column => 'status')$$);
SELECT lifecycle('orders');
SELECT told($$SELECT govern('orders', '{"a": ["b"]}', state_column => 'status')$$);
SELECT told($$SELECT govern('orders', '{"a": ["b", "c"], "c": ["d"], "d": ["e"]}', state_column => 'status')$$);
SELECT told($$SELECT govern('orders', '{"a": ["b", "c"], "c": ["d"]}', 'id', 'status', initial_states => '{a}', evidence => '{number}', keep_rows => false, history => true)$$);
SELECT told($$SELECT govern('"Odd ''n"" {}"', '{"new": ["sent''s", "lo\"st\\"], "sent''s": ["back"]}', initial_states => '{new}', evidence => '{amount,é''}', keep_rows => false)$$);
CREATE TABLE tickets (id int PRIMARY KEY, state text);
SELECT govern('tickets', '{"a": ["b"]}', history => true);
SELECT govern('tickets', '{"a": ["b", "c"]}', history => true);
SELECT told($$SELECT govern('tickets', '{"a": ["b", "c"]}')$$);
SELECT lifecycle, options FROM governed_tables() WHERE relation = 'tickets'::regclass;
INSERT INTO tickets VALUES (1, 'a');
UPDATE tickets SET state = 'c';
CREATE ROLE regress_again;
GRANT USAGE ON SCHEMA "Test govern_ddl" TO regress_again;
SET ROLE regress_again;
SELECT told($$SELECT govern('tickets', '{"a": ["b", "c"]}', history => true)$$);
RESET ROLE;
DROP OWNED BY regress_again;
DROP ROLE regress_again;

SELECT told($$SELECT govern_ddl('kept')$$);
SELECT told($$SELECT govern_ddl('orders', 'none')$$);
SELECT told($$SELECT govern_ddl(NULL)$$);

RESET search_path;
DROP SCHEMA "Test govern_ddl" CASCADE;
