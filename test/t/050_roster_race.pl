# Claims of all kinds at the same time as moves: no deadlock, and what a claim
# returned holds until its transaction ends. And how often a claim looks.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{ROSTER_RACE_SECONDS} || 5;
my $node = PostgreSQL::Test::Cluster->new('race');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION petition_cas;
CREATE TABLE pen (id int PRIMARY KEY, place int, claims int DEFAULT 0);
INSERT INTO pen SELECT i, i % 4 FROM generate_series(1, 40) AS i;

-- Claims, looks whether the members are what was claimed, and moves some.
CREATE FUNCTION act(filter text, condition text, to_place int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	ids int[];
	members int[];
BEGIN
	SELECT resolved_ids::int[] INTO ids FROM claim_roster('pen', filter, '{}', roster_hash('{}'::int[]), confirmed => true);
	EXECUTE format('SELECT array_agg(id) FROM pen WHERE %s', condition) INTO members;
	IF NOT ids <@ coalesce(members, '{}') THEN
		RAISE EXCEPTION 'claimed %, found %', ids, members;
	END IF;
	UPDATE pen SET place = to_place, claims = claims + 1 WHERE id = ANY (ids) AND id % 5 = to_place;
END $$;
SQL

# A claim looks again only if a transaction has ended since it began, or if its
# moment is the clock's. In the last one, the function that the view calls writes
# a row of its own by way of another connection.
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION dblink;
CREATE TABLE still (id int, during tstzrange DEFAULT '(,)');
INSERT INTO still VALUES (1), (2);
CREATE TABLE elsewhere (id int);
CREATE FUNCTION write_elsewhere(id int) RETURNS int STABLE LANGUAGE plpgsql AS $$
BEGIN
	PERFORM public.dblink_exec(format('dbname=%s host=%s port=%s', current_database(),
		split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port')), 'INSERT INTO public.elsewhere VALUES (1)');
	RETURN id;
END $$;
CREATE VIEW restless AS SELECT write_elsewhere(id) AS id FROM still;
SQL

sub looks
{
	my ($level, $source, $arguments) = @_;
	return $node->safe_psql('postgres', qq{
		BEGIN ISOLATION LEVEL $level;
		SELECT FROM claim_roster('$source', '', NULL, roster_hash('{1,2}'::int[])$arguments);
		SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'still'});
}
is(looks('READ COMMITTED', 'still', ''), 1, 'one look, where nothing ends meanwhile');
is(looks($_, 'restless', ''), 1, "one look at $_, which has one snapshot") for ('REPEATABLE READ', 'SERIALIZABLE');
is(looks('READ COMMITTED', 'still', ", period_column => 'during'"), 2, 'a second look at the moment after locking');
is(looks('READ COMMITTED', 'restless', ''), 2, 'a second look, where a transaction has ended');

my $dir = $node->basedir;
append_to_file("$dir/place.sql", q{
\set p random(0, 3)
\set q random(0, 3)
SELECT act('place:' || :p, 'place = ' || :p, :q);
});
append_to_file("$dir/range.sql", q{
\set a random(1, 30)
\set b :a + random(1, 10)
\set q random(0, 3)
SELECT act('id:' || :a || '..' || :b, 'id BETWEEN ' || :a || ' AND ' || :b, :q);
});
append_to_file("$dir/move.sql", q{
\set a random(1, 40)
UPDATE pen SET place = (place + 1) % 4 WHERE id = :a;
});
append_to_file("$dir/gone.sql", q{
\set a random(1, 40)
BEGIN;
DELETE FROM pen WHERE id = :a;
INSERT INTO pen VALUES (:a, :a % 4) ON CONFLICT DO NOTHING;
COMMIT;
});
command_ok(
	[
		'pgbench', '-n', '-c', 8, '-j', 2, '-T', $seconds, '-h', $node->host, '-p', $node->port,
		(map { ('-f', "$dir/$_.sql") } qw(place range move gone)), 'postgres'
	],
	'eight clients, none of which met an error');
cmp_ok($node->safe_psql('postgres', 'SELECT sum(claims) FROM pen'), '>', 0, 'claims were made and acted on');
# A place has the animals 1 to 2000 and, in every snapshot, just one of fifty others, which
# take turns. A set without any of those never was there, and cannot be claimed.
$node->safe_psql('postgres', q{
	CREATE TABLE fold (id int PRIMARY KEY, place text);
	INSERT INTO fold SELECT i, CASE WHEN i <= 2001 THEN 'in' ELSE 'out' END FROM generate_series(1, 2050) i});
append_to_file("$dir/turn.sql", q{
\set leaves 2001 + :turn % 50
\set turn :turn + 1
\set comes 2001 + :turn % 50
UPDATE fold SET place = CASE id WHEN :comes THEN 'in' ELSE 'out' END WHERE id IN (:comes, :leaves);
});
append_to_file("$dir/claim.sql", q{
DO $$
BEGIN
	PERFORM claim_roster('fold', 'place:in', NULL, (SELECT roster_hash(array_agg(i)) FROM generate_series(1, 2000) i));
	RAISE 'claimed what never was';
EXCEPTION WHEN SQLSTATE 'PF005' THEN
END $$;
});
my @turns = ('pgbench', '-n', '-c', 1, '-h', $node->host, '-p', $node->port);
my ($turned, $told);
my $turning = IPC::Run::start([ @turns, '-T', 300, '-D', 'turn=0', '-f', "$dir/turn.sql", 'postgres' ], '<', '/dev/null', '>', \$turned, '2>', \$told);
command_ok([ @turns, '-t', 150, '-f', "$dir/claim.sql", 'postgres' ], 'no set is claimed that never was');
$turning->kill_kill;
is($node->safe_psql('postgres', q{SELECT count(*) FROM fold WHERE place = 'in'}), 2001, 'while others took turns');

unlike(slurp_file($node->logfile), qr/deadlock detected|PANIC|terminated by signal/, 'no deadlock, no crash');
$node->stop;
done_testing();
