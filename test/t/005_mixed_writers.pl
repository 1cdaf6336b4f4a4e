# Writers of every kind at once: assign_fate, assign_fates, a plain UPDATE, MERGE
# and an upsert, from 16 clients, over 10,000 petitions. Each petition gets one
# fate, no writer meets a deadlock, and every loser a typed error.
#
# Each attempt has a name of its own as petition_cas.actor, so that the ledger
# tells whose it was; each writes down what it was told.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $petitions = $ENV{PETITION_CAS_PETITIONS} // 10_000;
my $node = PostgreSQL::Test::Cluster->new('mixed');

$node->init;
$node->append_conf('postgresql.conf', "max_connections = 50\nsynchronous_commit = off");
$node->start;
$node->safe_psql('postgres', <<'END');
CREATE EXTENSION petition_cas;
SELECT create_petitions();
CREATE UNLOGGED TABLE attempts (actor text, kind text, told text);
CREATE SEQUENCE attempt_names;

CREATE FUNCTION pid(n bigint) RETURNS uuid IMMUTABLE RETURN
    ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid;

CREATE FUNCTION attempt(kind text, numbers int[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    actor text := kind || nextval('attempt_names');
    fate text := (ARRAY['ACKNOWLEDGED', 'REFERRED', 'ESCALATED'])[1 + floor(random() * 3)];
    petition uuid := pid(numbers[1]);
BEGIN
    PERFORM set_config('petition_cas.actor', actor, true);
    CASE kind
        WHEN 'assign_fate' THEN
            PERFORM assign_fate(petition, 'DELIBERATING', fate);
        WHEN 'assign_fates' THEN
            INSERT INTO attempts
            SELECT actor, kind, outcome
            FROM assign_fates((SELECT array_agg(pid(n)) FROM unnest(numbers) n), 'DELIBERATING', fate);
            RETURN;
        WHEN 'update' THEN
            UPDATE petition_submissions SET state = fate WHERE id = petition;
        WHEN 'merge' THEN
            MERGE INTO petition_submissions p USING (SELECT petition AS id) s ON p.id = s.id
            WHEN MATCHED THEN UPDATE SET state = fate;
        WHEN 'upsert' THEN
            INSERT INTO petition_submissions (id, text, state) VALUES (petition, 'again', fate)
            ON CONFLICT (id) DO UPDATE SET state = excluded.state;
    END CASE;
    INSERT INTO attempts VALUES (actor, kind, 'done');
EXCEPTION WHEN OTHERS THEN
    INSERT INTO attempts VALUES (actor, kind, SQLSTATE);
END $$;
END
$node->safe_psql('postgres',
	"INSERT INTO petition_submissions (id, text, state) SELECT pid(n), 'text', 'DELIBERATING' FROM generate_series(1, $petitions) n");

# One after the other kind, over numbers that the clients draw at random.
my @scripts;
for my $kind (qw(assign_fate update merge upsert))
{
	my $file = $node->basedir . "/$kind.sql";

	append_to_file($file, "\\set n random(1, $petitions)\nSELECT attempt('$kind', ARRAY[:n]);\n");
	push @scripts, '-f', $file;
}
my $bulk = $node->basedir . '/assign_fates.sql';
append_to_file($bulk,
	join("\n", map { "\\set n$_ random(1, $petitions)" } 1 .. 10)
	  . "\nSELECT attempt('assign_fates', ARRAY[" . join(', ', map { ":n$_" } 1 .. 10) . "]);\n");
push @scripts, '-f', $bulk;

my @pgbench = (qw(pgbench -n -c 16 -j 2 -h), $node->host, '-p', $node->port, '-t');

command_ok([@pgbench, int($petitions / 8), @scripts, 'postgres'], 'writers of every kind, at random');

# What chance has left over, every client wants at once, each in its own order.
my $rest = $node->basedir . '/rest.sql';
append_to_file($rest,
	"SELECT attempt('assign_fates', (SELECT array_agg(n ORDER BY random()) FROM generate_series(1, $petitions) n));\n");
command_ok([@pgbench, 1, '-f', $rest, 'postgres'], 'every client for every petition');

my $told = $node->safe_psql('postgres',
	'SELECT kind, told, count(*) FROM attempts GROUP BY kind, told ORDER BY kind, told');
note($told);

is($node->safe_psql('postgres', q{SELECT count(*) FROM attempts
	WHERE told NOT IN ('done', 'assigned', 'already_fated', 'concurrent_modification', 'PF001', 'PF002')}),
	0, 'no loser is told anything else, and none of a deadlock');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id) FROM petition_submissions_fates'),
	"$petitions|$petitions", 'every petition has one fate');
is($node->safe_psql('postgres', 'SELECT * FROM verify_fates(\'petition_submissions\')'),
	'', 'each row agrees with its ledger row');
is($node->safe_psql('postgres', q{SELECT count(*) FROM petition_submissions_fates f
	WHERE NOT EXISTS (SELECT FROM attempts a WHERE a.actor = f.assigned_by AND a.told IN ('done', 'assigned'))}),
	0, 'each fate is that of a writer who was told so');
is($node->safe_psql('postgres', q{SELECT count(*) FROM
	(SELECT actor, count(*) FROM attempts WHERE told = 'assigned' OR told = 'done' AND kind = 'assign_fate' GROUP BY actor) a
	FULL JOIN (SELECT assigned_by, count(*) FROM petition_submissions_fates
	           WHERE assigned_by LIKE 'assign%' GROUP BY assigned_by) f
	ON a.actor = f.assigned_by WHERE a.count IS DISTINCT FROM f.count}),
	0, 'each writer through our functions has just the fates that it was told');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (VALUES ('assign_fate'), ('assign_fates'), ('update'), ('merge'), ('upsert')) k (kind)
	WHERE EXISTS (SELECT FROM petition_submissions_fates f WHERE f.assigned_by ~ ('^' || k.kind || '[0-9]'))}),
	5, 'writers of each kind have won');

done_testing();
