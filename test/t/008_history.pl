# The history under load: eight clients insert, delete and move the same rows, in each way
# that there is, at two isolation levels, in transactions of one move and of several, some
# of which are rolled back. Afterwards the history of each row is what its clients have
# committed, one row a change; read by its times it is a path of the lifecycle, from null
# to the state that the row has.
#
# PETITION_CAS_HISTORY_CALLS says how many transactions each client makes.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $calls = $ENV{PETITION_CAS_HISTORY_CALLS} // 250;
my $node = PostgreSQL::Test::Cluster->new('history');

$node->init;
$node->append_conf('postgresql.conf', "max_connections = 50\nsynchronous_commit = off");
$node->start;
$node->safe_psql('postgres', <<'END');
CREATE EXTENSION petition_cas;
CREATE TABLE orders (id int PRIMARY KEY, state text);
SELECT govern('orders', '{"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b", "d"]}', history => true);

-- what clients did, in the same transaction
CREATE TABLE done (id int, from_state text, to_state text, transaction_id xid8 DEFAULT pg_current_xact_id());

CREATE FUNCTION pick(VARIADIC states text[]) RETURNS text LANGUAGE sql RETURN states[1 + floor(random() * cardinality(states))];

-- Fates are rare, so that rows go on moving.
CREATE FUNCTION move(kind text, key int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    target text := pick('a', 'a', 'a', 'b', 'b', 'b', 'c', 'c', 'c', CASE WHEN random() < 0.1 THEN 'd' ELSE 'a' END);
    source text := pick('a', 'b', 'c');
BEGIN
    CASE kind
        WHEN 'insert' THEN
            INSERT INTO orders VALUES (key, target) ON CONFLICT DO NOTHING;
            IF FOUND THEN INSERT INTO done VALUES (key, NULL, target); END IF;
        WHEN 'delete' THEN
            DELETE FROM orders WHERE id = key;
        WHEN 'update' THEN
            INSERT INTO done SELECT key, state, target FROM orders WHERE id = key AND state <> target FOR UPDATE;
            IF FOUND THEN UPDATE orders SET state = target WHERE id = key; END IF;
        WHEN 'upsert' THEN
            INSERT INTO done SELECT key, state, target FROM orders WHERE id = key AND state <> target FOR UPDATE;
            IF FOUND THEN INSERT INTO orders VALUES (key, target) ON CONFLICT (id) DO UPDATE SET state = excluded.state; END IF;
        WHEN 'merge' THEN
            INSERT INTO done SELECT key, state, target FROM orders WHERE id = key AND state <> target FOR UPDATE;
            IF FOUND THEN MERGE INTO orders o USING (VALUES (key)) v (id) ON o.id = v.id WHEN MATCHED THEN UPDATE SET state = target; END IF;
        WHEN 'swap' THEN
            PERFORM compare_and_swap(null::orders, key, source, target);
            INSERT INTO done VALUES (key, source, target);
        WHEN 'try' THEN
            IF (SELECT outcome FROM try_compare_and_swap(null::orders, key, source, target)) = 'assigned' THEN
                INSERT INTO done VALUES (key, source, target);
            END IF;
        WHEN 'many' THEN
            INSERT INTO done SELECT m.key::int, source, target
            FROM compare_and_swap_many(null::orders, ARRAY[key, key % 20 + 1, (key + 6) % 20 + 1], source, target) m WHERE outcome = 'assigned';
    END CASE;
EXCEPTION
    WHEN SQLSTATE 'PF001' OR SQLSTATE 'PF002' OR SQLSTATE 'PF003' OR SQLSTATE 'PF004' OR SQLSTATE 'PF006' THEN NULL;
END $$;
END

my $kind = q{pick('insert', 'insert', 'insert', 'delete', 'update', 'upsert', 'merge', 'swap', 'try', 'many', 'many')};
my $one = "SELECT move($kind, 1 + floor(random() * 20)::int);\n";
my $again = "\\set k random(1, 20)\nSELECT move('swap', :k);\nSELECT move('update', :k);\nSELECT move('try', :k);\n";
my $dir = PostgreSQL::Test::Utils::tempdir();
my %script = (
	one => $one,
	again => "BEGIN;\n${again}COMMIT;\n",
	back => "BEGIN;\n${again}ROLLBACK;\n",
	savepoint => "BEGIN;\nSAVEPOINT s;\n${again}ROLLBACK TO s;\n${one}COMMIT;\n",
	repeatable => "BEGIN ISOLATION LEVEL REPEATABLE READ;\n${one}COMMIT;\n");
for my $name (keys %script)
{
	append_to_file("$dir/$name.sql", $script{$name});
}
my ($out, $err);
ok(IPC::Run::run([ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', $calls, '--max-tries=100',
			(map { ('-f', "$dir/$_.sql" . ($_ eq 'one' ? '@6' : '@1')) } sort keys %script), '-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', \$out, '2>', \$err), 'eight clients move rows') or diag $err;
like($out, qr/^number of failed transactions: 0 /m, 'no transaction failed for good') or diag $out;

my $made = $node->safe_psql('postgres', 'SELECT count(*) FROM done');
cmp_ok($made, '>', $calls / 2, "they have made $made moves");
is($node->safe_psql('postgres', q{
		(SELECT id, from_state, to_state, transaction_id FROM done EXCEPT ALL SELECT id, from_state, to_state, transaction_id FROM orders_history)
		UNION ALL
		(SELECT id, from_state, to_state, transaction_id FROM orders_history EXCEPT ALL SELECT id, from_state, to_state, transaction_id FROM done)}),
	'', 'the history is what they have committed');
is($node->safe_psql('postgres', q{
		SELECT id, from_state, to_state, before FROM (SELECT *, lag(to_state) OVER (PARTITION BY id ORDER BY moved_at) AS before FROM orders_history) h
		WHERE from_state IS NOT NULL AND (from_state IS DISTINCT FROM before OR NOT to_state = ANY (allowed_transitions('orders', from_state)))}),
	'', 'read by its times it is a path of the lifecycle, from an insertion on');
is($node->safe_psql('postgres', q{
		SELECT id, state, to_state FROM orders LEFT JOIN (SELECT DISTINCT ON (id) id, to_state FROM orders_history ORDER BY id, moved_at DESC) h USING (id)
		WHERE state IS DISTINCT FROM to_state}), '', 'to the state that the row has');
is($node->safe_psql('postgres', q{SELECT count(*) FROM orders_fates f LEFT JOIN orders_history h ON (h.id, h.to_state, h.transaction_id) = (f.id, f.fate, f.transaction_id) AND h.from_state IS NOT DISTINCT FROM f.from_state
		WHERE h.id IS NULL}), 0, 'each fate of the ledger is in it');
is($node->safe_psql('postgres', q{SELECT * FROM verify_fates('orders')}), '', 'verify_fates finds nothing');

$node->stop;
done_testing();
