# Through a transaction pooler: 8 clients share 3 connections, each transaction
# may get another one. Actor and tenant are set for a transaction (SET LOCAL),
# and each fate is recorded with its own, whatever was kept in the connection
# from a transaction before. In the simple and in the extended protocol, and with
# prepared statements where the pooler knows about them (1.21 and later).

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';

plan skip_all => 'no pgbouncer here' unless $pgbouncer;

my ($version) = qx("$pgbouncer" --version) =~ /(\d+\.\d+)/;
my $knows_statements = (split /\./, $version)[1] >= 21 || $version >= 2;
my $user = getpwuid($<);
my $clients = 8;
my $node = PostgreSQL::Test::Cluster->new('pooled');

$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION petition_cas;
	CREATE TABLE told (protocol text, tenant int, n int, client int, outcome text, current_state text, pid int DEFAULT pg_backend_pid())});

# --- The pooler ---------------------------------------------------------------

my $folder = PostgreSQL::Test::Utils::tempdir_short();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $log = $node->basedir . '/pgbouncer.log';

append_to_file("$folder/users", qq("$user" ""\n));
append_to_file("$folder/pgbouncer.ini", join "\n",
	'[databases]', 'postgres = host=' . $node->host . ' port=' . $node->port . ' dbname=postgres pool_size=3',
	'[pgbouncer]', 'pool_mode = transaction', "unix_socket_dir = $folder", "listen_port = $port", 'auth_type = trust',
	"auth_file = $folder/users", "logfile = $log", 'ignore_startup_parameters = extra_float_digits',
	($knows_statements ? 'max_prepared_statements = 100' : ()), '');

my $pooler = IPC::Run::start([ $pgbouncer, '-q', "$folder/pgbouncer.ini" ], '<', '/dev/null', '>', '/dev/null', '2>', '/dev/null');
my $pooled = "host=$folder port=$port dbname=postgres user=$user";

END
{
	my $status = $?;

	$pooler->kill_kill if $pooler;
	$? = $status;
}

# Runs SQL through the pooler.
sub pooled
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $pooled ], '<', \$sql, '>', \$out, '2>', \$err);
	chomp $out;
	return ($out, $err);
}

for (1 .. 100)
{
	last if (pooled('SELECT 1'))[0] eq '1';
	usleep(100_000);
}
is((pooled('SELECT 1'))[0], '1', "pgbouncer $version is there") or diag(-e $log ? slurp_file($log) : '');

# --- The same fight in each protocol --------------------------------------------

my $fates = "(ARRAY['ACKNOWLEDGED', 'REFERRED', 'ESCALATED'])[1 + (:client_id::int + :n::int) % 3]";
my $id = "lpad(:n::text, 32, '0')::uuid";
my $attempt = "INSERT INTO public.told (protocol, tenant, n, client, outcome, current_state)\n"
  . "SELECT 'PROTOCOL', :tenant::int, :n::int, :client_id::int, outcome, current_state FROM ";

# In the extended protocol SET takes no parameter, set_config does.
my %script = (
	simple => "BEGIN;\nSET LOCAL petition_cas.actor = 'client :client_id';\nSET LOCAL search_path = simple_:tenant, public;\n",
	map { $_ => "BEGIN ISOLATION LEVEL LEVEL;\nSELECT set_config('petition_cas.actor', 'client ' || :client_id, true), set_config('search_path', '${_}_' || :tenant || ', public', true);\n" }
	  qw(extended prepared));
my @ways = (
	"try_assign_fate($id, 'DELIBERATING', $fates)",
	"assign_fates(ARRAY[$id], 'DELIBERATING', $fates)",
	"try_compare_and_swap(NULL::SCHEMA.petition_submissions, $id\::text, 'DELIBERATING', $fates)");

for my $protocol ('simple', 'extended', 'prepared')
{
  SKIP:
	{
		skip "pgbouncer $version knows no prepared statements", 8 if $protocol eq 'prepared' && !$knows_statements;

		my @files;
		my ($out, $err) = ('', '');

		for my $tenant (1, 2)
		{
			$node->safe_psql('postgres', qq{
				CREATE SCHEMA ${protocol}_$tenant;
				SET search_path = ${protocol}_$tenant, public;
				SELECT create_petitions();
				INSERT INTO petition_submissions (id, text, state) SELECT lpad(n::text, 32, '0')::uuid, 'text', 'DELIBERATING' FROM generate_series(1, 400) n});
			for my $way (0 .. $#ways)
			{
				for my $level ('READ COMMITTED', 'REPEATABLE READ')
				{
					my $file = $node->basedir . "/${protocol}_${tenant}_${way}_" . lc(substr $level, 0, 6) . '.sql';
					my $sql = "\\set tenant $tenant\n\\set n random(1, 400)\n$script{$protocol}$attempt$ways[$way];\nCOMMIT;\n";

					$sql =~ s/PROTOCOL/$protocol/g;
					$sql =~ s/SCHEMA/${protocol}_$tenant/g;
					$sql =~ s/ISOLATION LEVEL LEVEL/ISOLATION LEVEL $level/;
					append_to_file($file, $sql);
					push @files, '-f', $file;
				}
			}
		}
		# A thread for each client: pgbench prepares statements while its thread waits.
		IPC::Run::run([ 'pgbench', '-n', '-M', $protocol, '-c', $clients, '-j', $clients, '-t', 500, @files, $pooled ], '>', \$out, '2>', \$err);
		like($out, qr{transactions actually processed: 4000/4000}, "$protocol: no client met an error") or diag($err);

		my $ledger = join ' UNION ALL ', map {
			"SELECT $_ AS tenant, ltrim(replace(id::text, '-', ''), '0')::int AS n, p.state, fate, assigned_by FROM ${protocol}_$_.petition_submissions p FULL JOIN ${protocol}_$_.petition_submissions_fates USING (id)"
		} 1, 2;
		is($node->safe_psql('postgres', qq{
				SELECT count(*) FROM (SELECT FROM told WHERE protocol = '$protocol' AND outcome = 'assigned' GROUP BY tenant, n HAVING count(*) > 1) t}),
			0, "$protocol: nothing was assigned twice");
		is($node->safe_psql('postgres', qq{
				SELECT * FROM (SELECT * FROM told WHERE protocol = '$protocol' AND outcome = 'assigned') t
				FULL JOIN (SELECT * FROM ($ledger) l WHERE state <> 'DELIBERATING' OR fate IS NOT NULL) l USING (tenant, n)
				WHERE (outcome, current_state, current_state, 'client ' || client) IS DISTINCT FROM ('assigned', state, fate, assigned_by)}),
			'', "$protocol: each fate is in the tenant it was assigned in, recorded with who assigned it");
		cmp_ok($node->safe_psql('postgres', qq{SELECT count(*) FROM told WHERE protocol = '$protocol' AND outcome = 'assigned'}), '>', 400, "$protocol: many were assigned");
		is($node->safe_psql('postgres', qq{SELECT string_agg(DISTINCT outcome, ' ' ORDER BY outcome) FROM told WHERE protocol = '$protocol' AND outcome NOT IN ('concurrent_modification')}),
			'already_fated assigned', "$protocol: and who lost was told so");
		is($node->safe_psql('postgres', qq{
				SELECT count(*) FROM told t WHERE protocol = '$protocol' AND outcome <> 'assigned'
				AND current_state <> (SELECT state FROM ($ledger) l WHERE l.tenant = t.tenant AND l.n = t.n)}),
			0, "$protocol: with the fate that stands");
		is($node->safe_psql('postgres', qq{
				SELECT count(DISTINCT pid) BETWEEN 1 AND 3, count(DISTINCT client) FROM told WHERE protocol = '$protocol';
				SELECT count(*) > 0 FROM (SELECT FROM told WHERE protocol = '$protocol' GROUP BY pid HAVING count(DISTINCT client) = $clients AND count(DISTINCT tenant) = 2) t}),
			"t|$clients\nt", "$protocol: the clients did share connections, and the tenants too");
		is($node->safe_psql('postgres', join ' UNION ALL ', map { "SELECT * FROM verify_fates('${protocol}_$_.petition_submissions')" } 1, 2),
			'', "$protocol: verify_fates finds nothing");
	}
}

# --- What is left in the connections --------------------------------------------

my @left = pooled("BEGIN; SELECT 'actor:' || current_setting('petition_cas.actor'), pg_sleep(0.05); COMMIT;");
is($left[0], 'actor:|', 'no actor is left in a connection');
$node->safe_psql('postgres', q{INSERT INTO simple_1.petition_submissions (id, text) SELECT lpad(n::text, 32, '0')::uuid, 'late' FROM generate_series(501, 509) n});
is((pooled(q{
		BEGIN;
		SET LOCAL search_path = simple_1, public;
		SELECT state FROM assign_fate(lpad('501', 32, '0')::uuid, 'RECEIVED', 'ACKNOWLEDGED');
		COMMIT;
		SELECT assigned_by FROM simple_1.petition_submissions_fates WHERE id = lpad('501', 32, '0')::uuid}))[0],
	"ACKNOWLEDGED\n$user", 'who sets no actor is recorded as the user of the session');

# An error ends its transaction, and the connection serves the next one.
my ($out, $err) = pooled(q{
	BEGIN;
	SET LOCAL petition_cas.actor = 'a loser';
	SET LOCAL search_path = simple_1, public;
	SELECT state FROM assign_fate(lpad('501', 32, '0')::uuid, 'RECEIVED', 'ACKNOWLEDGED');
	COMMIT;
	SELECT 'actor:' || current_setting('petition_cas.actor');
	BEGIN;
	SET LOCAL search_path = simple_1, public;
	SELECT state FROM assign_fate(lpad('502', 32, '0')::uuid, 'RECEIVED', 'ACKNOWLEDGED');
	COMMIT});
like($err, qr/ERROR:  PF002: /, 'a typed error comes through');
is($out, "actor:\nACKNOWLEDGED", 'and the next transaction is not affected');

$node->stop('fast');
done_testing();
