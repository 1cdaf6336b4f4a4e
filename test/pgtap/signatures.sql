-- The functions, their signatures and types are the contract.

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS petition_cas;

-- name, arguments, result, volatility, whether it returns a set
CREATE TEMPORARY TABLE functions (n int GENERATED ALWAYS AS IDENTITY, name text, arguments text[], result text, volatility text, is_set boolean);
INSERT INTO functions (name, arguments, result, volatility, is_set) VALUES
    ('petition_lifecycle', '{}', 'jsonb', 'immutable', false),
    ('lifecycle', '{regclass,name}', 'jsonb', 'stable', false),
    ('allowed_transitions', '{regclass,text,name}', 'text[]', 'stable', false),
    ('is_fate', '{regclass,text,name}', 'boolean', 'stable', false),
    ('extend_lifecycle', '{regclass,jsonb,name}', 'jsonb', 'volatile', false),
    ('lifecycle_diagram', '{regclass,name}', 'text', 'stable', false),
    ('govern', '{regclass,jsonb,name,name,text[],name[],boolean,boolean}', 'regclass', 'volatile', false),
    ('govern_ddl', '{regclass,name}', 'text', 'stable', false),
    ('ungovern', '{regclass,name}', 'void', 'volatile', false),
    ('guard_fate', '{}', 'trigger', 'volatile', false),
    ('guard_truncate', '{}', 'trigger', 'volatile', false),
    ('guard_ledger', '{}', 'trigger', 'volatile', false),
    ('create_petitions', '{}', 'regclass', 'volatile', false),
    ('assign_fate', '{uuid,text,text,text,text,text}', 'petition_submission', 'volatile', false),
    ('try_assign_fate', '{uuid,text,text,text,text,text}', 'record', 'volatile', false),
    ('assign_fates', '{uuid[],text,text,text,text}', 'setof record', 'volatile', true),
    ('compare_and_swap', '{anyelement,anycompatible,text,text,jsonb,text,text,text,name}', 'anyelement', 'volatile', false),
    ('try_compare_and_swap', '{anyelement,anycompatible,text,text,jsonb,text,text,text,name}', 'record', 'volatile', false),
    ('try_compare_and_swap', '{regclass,anycompatible,text,text,jsonb,text,text,text,name}', 'record', 'volatile', false),
    ('compare_and_swap_many', '{anyelement,anycompatiblearray,text,text,jsonb,text,text,name}', 'setof record', 'volatile', true),
    ('verify_fates', '{regclass,name}', 'setof record', 'volatile', true),
    ('backfill_fates', '{regclass,name}', 'bigint', 'volatile', false),
    ('forget_actor', '{regclass,text,text,name}', 'bigint', 'volatile', false),
    ('governed_tables', '{}', 'setof record', 'stable', true),
    ('fates_since', '{regclass,text,bigint,name}', 'setof record', 'stable', true),
    ('row_key', '{anyelement}', 'text', 'stable', false),
    ('evidence_hash', '{anyelement,name}', 'text', 'stable', false),
    ('hash_evidence', '{record,text[]}', 'text', 'immutable', false),
    ('petition_cas_counters', '{}', 'setof record', 'stable', true),
    ('petition_cas_version', '{}', 'text', 'stable', false);

SELECT plan((SELECT count(*)::int * 4 FROM functions) + 28);

SELECT has_function(name, arguments) FROM functions ORDER BY n;
SELECT function_returns(name, arguments, result) FROM functions ORDER BY n;
SELECT volatility_is(name, arguments, volatility) FROM functions ORDER BY n;
-- A null is an error, never a null result that looks like success.
SELECT isnt_strict(name, arguments) FROM functions ORDER BY n;

-- The names of the arguments, and their defaults, are part of it.
SELECT is(pg_get_function_arguments(function::regprocedure), arguments, function)
FROM (VALUES
    ('lifecycle(regclass, name)', 'relation regclass, state_column name DEFAULT NULL::name'),
    ('allowed_transitions(regclass, text, name)', 'relation regclass, from_state text, state_column name DEFAULT NULL::name'),
    ('is_fate(regclass, text, name)', 'relation regclass, state text, state_column name DEFAULT NULL::name'),
    ('extend_lifecycle(regclass, jsonb, name)', 'relation regclass, transitions jsonb, state_column name DEFAULT NULL::name'),
    ('lifecycle_diagram(regclass, name)', 'relation regclass, state_column name DEFAULT NULL::name'),
    ('govern(regclass, jsonb, name, name, text[], name[], boolean, boolean)', 'relation regclass, lifecycle jsonb, key_column name DEFAULT NULL::name, state_column name DEFAULT ''state''::name, initial_states text[] DEFAULT NULL::text[], evidence name[] DEFAULT NULL::name[], keep_rows boolean DEFAULT true, history boolean DEFAULT false'),
    ('govern_ddl(regclass, name)', 'relation regclass, state_column name DEFAULT NULL::name'),
    ('ungovern(regclass, name)', 'relation regclass, state_column name DEFAULT NULL::name'),
    ('assign_fate(uuid, text, text, text, text, text)', 'submission_id uuid, expected_state text, new_state text, reason text DEFAULT NULL::text, seen_hash text DEFAULT NULL::text, request_id text DEFAULT NULL::text'),
    ('try_assign_fate(uuid, text, text, text, text, text)', 'submission_id uuid, expected_state text, new_state text, reason text DEFAULT NULL::text, seen_hash text DEFAULT NULL::text, request_id text DEFAULT NULL::text, OUT outcome text, OUT current_state text'),
    ('compare_and_swap(anyelement, anycompatible, text, text, jsonb, text, text, text, name)', 'subject anyelement, key anycompatible, expected_state text, new_state text, changes jsonb DEFAULT NULL::jsonb, reason text DEFAULT NULL::text, seen_hash text DEFAULT NULL::text, request_id text DEFAULT NULL::text, state_column name DEFAULT NULL::name'),
    ('try_compare_and_swap(anyelement, anycompatible, text, text, jsonb, text, text, text, name)', 'subject anyelement, key anycompatible, expected_state text, new_state text, changes jsonb DEFAULT NULL::jsonb, reason text DEFAULT NULL::text, seen_hash text DEFAULT NULL::text, request_id text DEFAULT NULL::text, state_column name DEFAULT NULL::name, OUT outcome text, OUT current_state text'),
    ('try_compare_and_swap(regclass, anycompatible, text, text, jsonb, text, text, text, name)', 'relation regclass, key anycompatible, expected_state text, new_state text, changes jsonb DEFAULT NULL::jsonb, reason text DEFAULT NULL::text, seen_hash text DEFAULT NULL::text, request_id text DEFAULT NULL::text, state_column name DEFAULT NULL::name, OUT outcome text, OUT current_state text'),
    ('compare_and_swap_many(anyelement, anycompatiblearray, text, text, jsonb, text, text, name)', 'subject anyelement, keys anycompatiblearray, expected_state text, new_state text, changes jsonb DEFAULT NULL::jsonb, reason text DEFAULT NULL::text, request_id text DEFAULT NULL::text, state_column name DEFAULT NULL::name, OUT key text, OUT outcome text, OUT current_state text'),
    ('verify_fates(regclass, name)', 'relation regclass, state_column name DEFAULT NULL::name, OUT key text, OUT problem text'),
    ('backfill_fates(regclass, name)', 'relation regclass, state_column name DEFAULT NULL::name'),
    ('fates_since(regclass, text, bigint, name)', 'relation regclass, token text DEFAULT NULL::text, at_most bigint DEFAULT NULL::bigint, state_column name DEFAULT NULL::name, OUT key text, OUT from_state text, OUT fate text, OUT assigned_at timestamp with time zone, OUT assigned_by text, OUT transaction_id xid8, OUT reason text, OUT request_id text, OUT evidence_hash text, OUT next_token text'),
    ('forget_actor(regclass, text, text, name)', 'relation regclass, actor text, pseudonym text, state_column name DEFAULT NULL::name'),
    ('evidence_hash(anyelement, name)', 'subject anyelement, state_column name DEFAULT NULL::name'),
    ('hash_evidence(record, text[])', 'columns record, names text[]')
) v (function, arguments);
SELECT is(pg_get_function_result('assign_fates(uuid[], text, text, text, text)'::regprocedure),
          'TABLE(submission_id uuid, outcome text, current_state text)');

-- The composite type.
SELECT is(
    (SELECT string_agg(format('%s %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
     FROM pg_attribute WHERE attrelid = 'petition_submission'::regclass),
    'id uuid, type text, text text, submitter_id uuid, state text, content_hash bytea, realm text, '
    'fate_reason text, created_at timestamp with time zone, updated_at timestamp with time zone',
    'petition_submission');

-- The extension owns mechanism, the user owns data: no tables.
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
        AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'petition_cas') AND c.relkind <> 'c' $$,
    'the extension has no relation but a composite type');
-- Invoker's rights.
SELECT is_empty($$
    SELECT objid::regprocedure FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
    WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
        AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'petition_cas') AND p.prosecdef $$,
    'no function is SECURITY DEFINER');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
    WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
        AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'petition_cas')
        AND p.provolatile = 'v' AND p.proparallel = 's' $$,
    'no function that writes is PARALLEL SAFE');

-- The table of petitions.
CREATE SCHEMA tap;
SET LOCAL search_path = tap, public;
SELECT is(create_petitions()::text, 'petition_submissions', 'create_petitions returns the table');
SELECT is(
    (SELECT string_agg(format('%s %s%s%s', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN ' not null' END,
                              ' default ' || pg_get_expr(adbin, adrelid)), e'\n' ORDER BY attnum)
     FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
     WHERE attrelid = 'petition_submissions'::regclass AND attnum > 0),
    $$id uuid not null default gen_random_uuid()
type text not null default 'GENERAL'::text
text character varying(10000) not null
submitter_id uuid
state text not null default 'RECEIVED'::text
content_hash bytea
realm text not null default 'default'::text
fate_reason text
created_at timestamp with time zone not null default now()
updated_at timestamp with time zone not null default now()$$,
    'columns of petition_submissions');
SELECT results_eq(
    $$ SELECT attname::text, CASE atttypid WHEN 'varchar'::regtype THEN 'text'::regtype ELSE atttypid END FROM pg_attribute
       WHERE attrelid = 'petition_submissions'::regclass AND attnum > 0 ORDER BY attnum $$,
    $$ SELECT attname::text, atttypid FROM pg_attribute
       WHERE attrelid = 'petition_submission'::regclass AND attnum > 0 ORDER BY attnum $$,
    'petition_submission has the same columns, of the same types but for the length of the text');

SELECT * FROM finish();
ROLLBACK;
