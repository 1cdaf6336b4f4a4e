-- govern takes keys and states of many types, and names of any kind. For each
-- table: one row gets its fate, a second one is refused, nothing is at odds.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_govern_kinds;
SET search_path = test_govern_kinds, public;

CREATE FUNCTION try_out(relation regclass, key text, other_key text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    swap text := format('SELECT compare_and_swap(NULL::%s, %L, ', relation, key);
BEGIN
    RETURN QUERY SELECT told(swap || $c$'open', 'closed')$c$);
    RETURN QUERY SELECT told(swap || $c$'open', 'void')$c$);
    RETURN QUERY SELECT told(format($c$SELECT try_compare_and_swap(NULL::%s, %L, 'open', 'void')$c$,
                                    relation, other_key));
    RETURN QUERY SELECT 'problem: ' || v::text FROM verify_fates(relation) v;
END $$;
CREATE FUNCTION graph() RETURNS jsonb LANGUAGE sql RETURN '{"open": ["closed", "void"]}'::jsonb;

-- Keys.
CREATE TABLE k_uuid (id uuid PRIMARY KEY, state text);
SELECT govern('k_uuid', graph());
INSERT INTO k_uuid VALUES (pid(1), 'open'), (pid(2), 'open');
SELECT try_out('k_uuid', '{00000000-0000-0000-0000-00000000000-1}', pid(2)::text);
SELECT try_out('k_uuid', pid(1)::text, pid(2)::text);
SELECT id, from_state, fate, assigned_by FROM k_uuid_fates ORDER BY 1;
CREATE TABLE k_bigint (id bigint PRIMARY KEY, state text);
SELECT govern('k_bigint', graph());
INSERT INTO k_bigint VALUES (9223372036854775807, 'open'), (-1, 'open');
SELECT try_out('k_bigint', '9223372036854775807', '-1');
CREATE TABLE k_int (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state text DEFAULT 'open');
SELECT govern('k_int', graph());
INSERT INTO k_int DEFAULT VALUES;
INSERT INTO k_int DEFAULT VALUES;
SELECT try_out('k_int', '1', '2');
CREATE TABLE k_text (id text PRIMARY KEY, state text);
SELECT govern('k_text', graph());
INSERT INTO k_text VALUES ('', 'open'), ('it''s "a" key', 'open');
SELECT try_out('k_text', 'it''s "a" key', '');
CREATE TABLE k_varchar (id varchar(5) PRIMARY KEY, state text);
SELECT govern('k_varchar', graph());
INSERT INTO k_varchar VALUES ('a', 'open'), ('b', 'open');
SELECT try_out('k_varchar', 'a', 'b');
CREATE TABLE k_char (id char(5) PRIMARY KEY, state text);
SELECT govern('k_char', graph());
INSERT INTO k_char VALUES ('a', 'open'), ('b', 'open');
SELECT try_out('k_char', 'a', 'b');
CREATE TABLE k_collate (id text COLLATE "C" PRIMARY KEY, state text COLLATE "C");
SELECT govern('k_collate', graph());
INSERT INTO k_collate VALUES ('a', 'open'), ('b', 'open');
SELECT try_out('k_collate', 'a', 'b');
CREATE TABLE k_numeric (id numeric PRIMARY KEY, state text);
SELECT govern('k_numeric', graph());
INSERT INTO k_numeric VALUES (1.50, 'open'), (2, 'open');
SELECT try_out('k_numeric', '1.5', '2');
CREATE TABLE k_date (id date PRIMARY KEY, state text);
SELECT govern('k_date', graph());
INSERT INTO k_date VALUES ('2026-01-19', 'open'), ('2026-01-20', 'open');
SELECT try_out('k_date', '2026-01-19', '2026-01-20');
CREATE DOMAIN case_number AS text CHECK (VALUE ~ '^C');
CREATE TABLE k_domain (id case_number PRIMARY KEY, state text);
SELECT govern('k_domain', graph());
INSERT INTO k_domain VALUES ('C1', 'open'), ('C2', 'open');
SELECT try_out('k_domain', 'C1', 'C2');
CREATE TYPE planet AS ENUM ('mercury', 'venus');
CREATE TABLE k_enum (id planet PRIMARY KEY, state text);
SELECT govern('k_enum', graph());
INSERT INTO k_enum VALUES ('mercury', 'open'), ('venus', 'open');
SELECT try_out('k_enum', 'mercury', 'venus');
SELECT told($$ SELECT compare_and_swap(NULL::k_int, 'seven', 'open', 'void') $$);

-- The key needs a unique index of its own, not to be the primary key.
CREATE TABLE k_unique (a int, b int, c int NOT NULL UNIQUE, state text, PRIMARY KEY (a, b));
SELECT govern('k_unique', graph(), 'c');
INSERT INTO k_unique VALUES (1, 1, 10, 'open'), (1, 2, 20, 'open');
SELECT try_out('k_unique', '10', '20');
CREATE TABLE k_include (id int NOT NULL, state text);
CREATE UNIQUE INDEX ON k_include (id) INCLUDE (state);
SELECT govern('k_include', graph());
INSERT INTO k_include VALUES (1, 'open'), (2, 'open');
SELECT try_out('k_include', '1', '2');

-- States.
CREATE TABLE s_varchar (id int PRIMARY KEY, state varchar);
SELECT govern('s_varchar', graph());
INSERT INTO s_varchar VALUES (1, 'open'), (2, 'open');
SELECT try_out('s_varchar', '1', '2');
CREATE TABLE s_varchar6 (id int PRIMARY KEY, state varchar(6) NOT NULL DEFAULT 'open');
SELECT govern('s_varchar6', graph());
INSERT INTO s_varchar6 VALUES (1), (2);
SELECT try_out('s_varchar6', '1', '2');
CREATE TYPE stage AS ENUM ('open', 'closed', 'void', 'unused');
CREATE TABLE s_enum (id int PRIMARY KEY, state stage);
SELECT govern('s_enum', graph());
INSERT INTO s_enum VALUES (1, 'open'), (2, 'open');
SELECT try_out('s_enum', '1', '2');
SELECT told($$ INSERT INTO s_enum VALUES (3, 'unused') $$);
SELECT told($$ SELECT try_compare_and_swap(NULL::s_enum, '1', 'unused', 'void') $$);
SELECT told($$ SELECT try_compare_and_swap(NULL::s_enum, '1', 'nothing', 'void') $$);

-- Names.
CREATE SCHEMA "Odd ""Schema""";
CREATE TABLE "Odd ""Schema"""."My Orders" ("Order No." int PRIMARY KEY, "The State" text, "select" int);
SELECT govern('"Odd ""Schema"""."My Orders"', graph(), 'Order No.', 'The State');
INSERT INTO "Odd ""Schema"""."My Orders" VALUES (1, 'open', 5), (2, 'open', 6);
SELECT try_out('"Odd ""Schema"""."My Orders"', '1', '2');
SELECT * FROM "Odd ""Schema"""."My Orders" ORDER BY 1;
SELECT "Order No.", from_state, fate FROM "Odd ""Schema"""."My Orders_fates" ORDER BY 1;
CREATE TABLE governed_row (governed_row int PRIMARY KEY, governed_row_1 text, t int, locked int);
SELECT govern('governed_row', graph(), 'governed_row', 'governed_row_1');
INSERT INTO governed_row VALUES (1, 'open'), (2, 'open');
SELECT try_out('governed_row', '1', '2');

-- What govern has made. Its owner is the table's, whoever called it.
SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
WHERE attrelid = 'k_varchar_fates'::regclass AND attnum > 0 ORDER BY attnum;
SELECT contype, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = 'k_varchar_fates'::regclass AND contype <> 'n';
SELECT tgrelid::regclass, tgname, tgenabled, tgfoid::regproc, tgtype FROM pg_trigger
WHERE tgrelid IN ('k_varchar'::regclass, 'k_varchar_fates'::regclass) ORDER BY 1, 2;
SELECT pg_get_triggerdef(oid) FROM pg_trigger
WHERE tgrelid = '"Odd ""Schema"""."My Orders"'::regclass AND tgname = 'petition_cas_guard';

-- The default columns are id and state; named arguments work.
CREATE TABLE named (number int PRIMARY KEY, status text);
SELECT told($$ SELECT govern('named', graph()) $$);
SELECT told($$ SELECT govern('named', graph(), 'number') $$);
SELECT govern(relation => 'named', lifecycle => graph(), state_column => 'status', key_column => 'number');

-- ungovern takes the triggers off; the ledger stays, and its own.
SELECT ungovern('k_int');
SELECT tgrelid::regclass, tgname FROM pg_trigger
WHERE tgrelid IN ('k_int'::regclass, 'k_int_fates'::regclass) ORDER BY 1, 2;
SELECT told($$ SELECT ungovern('k_int') $$);
SELECT told($$ SELECT try_compare_and_swap(NULL::k_int, '1', 'open', 'void') $$);
SELECT told($$ DELETE FROM k_int_fates $$);
UPDATE k_int SET state = 'anything';
