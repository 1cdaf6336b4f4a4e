# Claims of all kinds at the same time as moves: no deadlock, and what a claim
# returned holds until its transaction ends.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{ROSTER_RACE_SECONDS} || 5;
my $node = PostgreSQL::Test::Cluster->new('race');
$node->init;
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
unlike(slurp_file($node->logfile), qr/deadlock detected|PANIC|terminated by signal/, 'no deadlock, no crash');
$node->stop;
done_testing();
