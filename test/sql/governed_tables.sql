-- Looking at it: governed_tables, row_key, the version; and a longer varchar.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_governed_tables;
SET search_path = test_governed_tables, public;

SELECT petition_cas_version() = extversion FROM pg_extension WHERE extname = 'petition_cas';
CREATE TABLE orders (tenant int, id int, state varchar(10), other text, PRIMARY KEY (tenant, id));
SELECT govern('orders', '{"open": ["closed"]}', initial_states => '{open}');
SELECT govern('orders', '{"x": ["y"]}', state_column => 'other', keep_rows => false);
CREATE TABLE parted (id int PRIMARY KEY, state text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (10);
SELECT govern('parted', '{"a": ["b"]}');
CREATE VIEW here AS SELECT * FROM governed_tables() WHERE relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'test_governed_tables'::regnamespace);
SELECT * FROM here ORDER BY relation::text, state_column;
SELECT count(*) >= 3, bool_and(problems IS NOT NULL) FROM governed_tables();

-- What is wrong is told, as verify_fates tells it.
BEGIN;
SET LOCAL petition_cas.allow_unguard = on;
ALTER TABLE orders DISABLE TRIGGER petition_cas_guard_other;
ALTER TABLE parted_1 DISABLE TRIGGER petition_cas_guard;
ALTER TABLE orders_fates DROP CONSTRAINT orders_fates_pkey;
GRANT INSERT ON orders_other_fates TO public;
SELECT relation, state_column, problems FROM here ORDER BY relation::text, state_column;
DROP TABLE orders_other_fates;
SELECT relation, state_column, ledger, problems FROM here ORDER BY relation::text, state_column;
ROLLBACK;

-- A caller sees the tables on which he has a right.
CREATE ROLE regress_looker;
GRANT USAGE ON SCHEMA test_governed_tables TO regress_looker;
GRANT SELECT ON here, orders TO regress_looker;
GRANT UPDATE (state) ON parted TO regress_looker;
SET ROLE regress_looker;
SELECT DISTINCT relation FROM governed_tables() WHERE relation::text ~ 'orders|parted' ORDER BY 1;
RESET ROLE;
DROP OWNED BY regress_looker;
DROP ROLE regress_looker;

-- The key of a row, as compare_and_swap takes it.
INSERT INTO orders VALUES (7, 42, 'open', 'x'), (8, 1, 'open', 'x');
SELECT row_key(o), (compare_and_swap(NULL::orders, row_key(o), 'open', 'closed', state_column => 'state')).state FROM orders o ORDER BY id;
SELECT row_key(NULL::orders);
INSERT INTO parted VALUES (3, 'a');
SELECT row_key(p) FROM parted p;
SELECT row_key(p) FROM parted_1 p;
SELECT told($$SELECT row_key(c) FROM pg_class c LIMIT 1$$);
SELECT told($$SELECT row_key(1)$$);

-- A varchar state column may become longer, also where the column or its cast is named.
SELECT told('ALTER TABLE orders ALTER state TYPE ' || type)
FROM unnest(ARRAY['varchar(9)', 'varchar(20) USING state', 'varchar(20) USING ''x''', 'varchar(20) USING upper(state)', 'varchar(20) USING state::varchar(3)', 'varchar(20) USING other', 'varchar(20) USING "state"::varchar(20)', 'varchar(21) USING state::char(21)', 'text', 'char(20)', 'varchar(20)', 'varchar', 'varchar(20)']) type;
SELECT told('ALTER TABLE orders ALTER state TYPE varchar(20), ALTER tenant TYPE bigint');
SELECT told('ALTER TABLE orders ALTER other TYPE varchar(20)');
SELECT told('ALTER TABLE orders_fates ALTER fate TYPE varchar');
SELECT extend_lifecycle('orders', '{"open": ["a state with a long name"]}', 'state');

-- What changes nothing is free: some tools send it for each column.
CREATE DOMAIN word AS text CHECK (value <> '');
CREATE TABLE same (tenant numeric(8), id varchar(5), state word, heard char(3), spoken text COLLATE "POSIX", plain text, twice text GENERATED ALWAYS AS (plain || plain) STORED, PRIMARY KEY (tenant, id));
SELECT govern('same', '{"open": ["closed"]}', evidence => '{heard,spoken,twice}');
INSERT INTO same VALUES (1, 'a', 'open', 'x', 'y'), (1, 'b', 'closed', 'x', 'y');
SELECT pg_relation_filenode('same') AS file \gset
SELECT type, told('ALTER TABLE same ALTER ' || type) FROM unnest(ARRAY[
    'tenant TYPE numeric(8)', 'id TYPE varchar(5)', 'state TYPE word', 'heard TYPE char(3)', 'spoken TYPE text COLLATE "POSIX"', 'twice TYPE text',
    'id TYPE varchar(5) USING id', 'id TYPE varchar(5) USING "id"::varchar(5), ALTER state TYPE word USING state::word, ALTER state SET NOT NULL',
    'tenant TYPE numeric(9)', 'tenant TYPE numeric', 'id TYPE varchar(6)', 'id TYPE varchar', 'id TYPE varchar(5) COLLATE "C"', 'id TYPE varchar(5) USING (tenant || id)::varchar(5)',
    'id TYPE varchar(5) USING same.id || ''''', 'state TYPE text', 'state TYPE word USING (''closed''::word)', 'heard TYPE char(4)', 'heard TYPE char(3) USING ''z''', 'spoken TYPE text',
    'spoken TYPE text COLLATE "POSIX" USING twice']) type;
SELECT pg_relation_filenode('same') = :file AS as_it_was;
SELECT told('ALTER TABLE same_fates ALTER fate TYPE text');
SELECT key, problem FROM verify_fates('same');
SELECT * FROM verify_fates('orders');

-- Nonsense that somebody puts on a table of his own hinders nobody.
BEGIN;
CREATE ROLE regress_mallory;
CREATE SCHEMA nonsense AUTHORIZATION regress_mallory;
SET LOCAL ROLE regress_mallory;
CREATE TABLE nonsense.deep (id int PRIMARY KEY, s text NOT NULL);
CREATE TABLE nonsense.options (id int PRIMARY KEY, s text NOT NULL);
CREATE TABLE nonsense.graph (LIKE nonsense.options INCLUDING ALL);
CREATE TABLE nonsense.list (LIKE nonsense.deep INCLUDING ALL);
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON nonsense.options FOR EACH ROW
    EXECUTE FUNCTION public.guard_fate('id', 's', 'a', '{"o": ["x"]}', 'garbage');
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON nonsense.graph FOR EACH ROW
    EXECUTE FUNCTION public.guard_fate('id', 's', 'a', 'garbage');
SELECT format($$CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON nonsense.deep FOR EACH ROW
    EXECUTE FUNCTION public.guard_fate('id', 's', 'a', %L)$$, repeat('[', 100000)) AS deep \gset
:deep;
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON nonsense.list FOR EACH ROW
    EXECUTE FUNCTION public.guard_fate('id', 's', 'a', '[1]');
RESET ROLE;
SELECT relation, state_column, lifecycle, options, problems FROM governed_tables() WHERE relation::text ~ 'nonsense' ORDER BY 1;
ROLLBACK;
