# Through a transaction pooler: 8 clients share 3 connections, each transaction
# may get another one. Actor and tenant are set for a transaction (SET LOCAL),
# and each fate is recorded with its own, whatever was kept in the connection
# from a transaction before. In the simple and in the extended protocol, and with
# prepared statements where the pooler knows about them (1.21 and later): these are
# shared by clients and tenants, make room for each other, and stay in the
# connections while the table is governed anew and altered.

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
	"admin_users = $user", ($knows_statements ? 'max_prepared_statements = 5' : ()), '');

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

# --- What stays prepared ------------------------------------------------------------

# Runs a statement once through the pooler, as a prepared one with a petition's
# number for its parameter, and returns what pgbench says of it: nothing, if it
# raised no error.
sub prepared
{
	my ($number, $sql) = @_;
	my $file = $node->basedir . '/prepared_' . length($sql) . '.sql';
	my ($out, $err) = ('', '');

	append_to_file($file, "$sql;\n") if !-e $file;
	IPC::Run::run([ 'pgbench', '-n', '-M', 'prepared', '-c', 1, '-t', 1, '-D', "n=$number", '-f', $file, $pooled ], '>', \$out, '2>', \$err);
	return join "\n", grep { /ERROR|DETAIL/ } split /\n/, $err;
}

SKIP:
{
	skip "pgbouncer $version knows no prepared statements", 15 if !$knows_statements;

	is((pooled("SELECT count(*) BETWEEN 1 AND 5 AND bool_and(name LIKE 'PGBOUNCER%' AND NOT from_sql) FROM pg_prepared_statements"))[0],
		't', 'prepared: the statements are the pooler\'s, as many as it may keep');

	# The table is governed anew, extended and altered while clients use them.
	$node->safe_psql('postgres', q{
		CREATE SCHEMA kept;
		SET search_path = kept, public;
		SELECT create_petitions();
		INSERT INTO petition_submissions (id, text, state) SELECT lpad(n::text, 32, '0')::uuid, 'text', 'DELIBERATING' FROM generate_series(1, 5000) n});
	append_to_file($node->basedir . '/kept.sql', "\\set n random(1, 4000)\n"
		  . "BEGIN;\nSELECT set_config('search_path', 'kept, public', true);\n${attempt}try_assign_fate($id, 'DELIBERATING', $fates);\nCOMMIT;\n" =~ s/PROTOCOL/kept/r);
	my ($out, $err) = ('', '');
	my $running = IPC::Run::start([ 'pgbench', '-n', '-M', 'prepared', '-c', $clients, '-j', $clients, '-t', 1000, '-D', 'tenant=1', '-f', $node->basedir . '/kept.sql', $pooled ], '>', \$out, '2>', \$err);
	for my $number (1 .. 5)
	{
		$node->poll_query_until('postgres', "SELECT count(*) >= $number * 1000 FROM told WHERE protocol = 'kept'") or die 'nobody decides';
		$node->safe_psql('postgres', qq{
			SET search_path = kept, public;
			SELECT extend_lifecycle('petition_submissions', '{"DELIBERATING": ["DEFERRED_$number"]}');
			ALTER TABLE petition_submissions ADD COLUMN note_$number text;
			BEGIN;
			SELECT lifecycle('petition_submissions') AS graph \\gset
			SELECT ungovern('petition_submissions');
			SELECT govern('petition_submissions', :'graph');
			COMMIT});
	}
	$running->finish;
	like($out, qr{transactions actually processed: 8000/8000}, 'prepared: governed anew meanwhile, no client met an error') or diag($err);
	is($node->safe_psql('postgres', q{
			SELECT count(*) FROM (SELECT * FROM told WHERE protocol = 'kept' AND outcome = 'assigned') t
			FULL JOIN kept.petition_submissions_fates f ON ltrim(replace(id::text, '-', ''), '0')::int = n
			WHERE current_state IS DISTINCT FROM fate;
			SELECT count(*) FROM verify_fates('kept.petition_submissions')}),
		"0\n0", 'prepared: the ledger has what the clients were told, and verify_fates finds nothing');

	# The pooler keeps a statement as long as some client has it: here one that waits
	# on a connection of its own, while others come and go on another one.
	my $assign = "SELECT state FROM kept.assign_once($id)";
	my $row = "SELECT * FROM compare_and_swap(null::kept.petition_submissions, $id\::text, 'DELIBERATING', 'REFERRED')";
	my $columns = $row =~ s/\*/id, state/r;
	my $gate = $node->background_psql('postgres');
	$node->safe_psql('postgres', q{
		CREATE FUNCTION kept.assign_once(uuid) RETURNS TABLE (state text) LANGUAGE sql SET search_path = kept, public
		AS $$SELECT state FROM assign_fate($1, 'DELIBERATING', 'DEFERRED_5')$$});
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	append_to_file($node->basedir . '/hold.sql', "\\set n 4201\n$assign;\n\\set n 4202\n$row;\n\\set n 4203\n$columns;\nSELECT pg_advisory_xact_lock(1);\n");
	my $holder = IPC::Run::start([ 'pgbench', '-n', '-M', 'prepared', '-c', 1, '-t', 1, '-f', $node->basedir . '/hold.sql', $pooled ], '>', \$out, '2>', \$err);
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") or die 'nobody waits';

	# A statement that has raised an error is as good as before.
	is(prepared(4001, $assign), '', 'prepared: the states of an extended lifecycle are known');
	like(prepared(4001, $assign), qr/already has the fate "DEFERRED_5"\n.*"current_state": "DEFERRED_5"/, 'prepared: who is second is told so');
	is(prepared(4002, $assign), '', 'prepared: and the next one assigns its fate');

	# A whole row has the columns that the table had when the statement was prepared;
	# without one of them, or with another type, it is refused.
	is(prepared(4101, $row), '', 'prepared: a whole row is returned');
	$node->safe_psql('postgres', 'ALTER TABLE kept.petition_submissions ADD COLUMN late text');
	is(prepared(4102, $row), '', 'prepared: and so it is when the table has got a column');
	$node->safe_psql('postgres', 'ALTER TABLE kept.petition_submissions ALTER note_1 TYPE varchar(9)');
	like(prepared(4103, $row), qr/ERROR: .*has wrong type/, 'prepared: a whole row with a column of another type is refused');
	$node->safe_psql('postgres', 'ALTER TABLE kept.petition_submissions DROP COLUMN note_1');
	like(prepared(4103, $row), qr/ERROR: .*has been dropped/, 'prepared: and so is one without one of its columns');
	is(prepared(4104, $columns), '', 'prepared: columns that are named are returned');
	IPC::Run::run([ 'psql', '-Xq', '-d', "host=$folder port=$port dbname=pgbouncer user=$user", '-c', 'RECONNECT' ], '>', \$out, '2>', \$err);
	is($err, '', 'prepared: the pooler takes new connections');
	is(prepared(4105, $row), '', 'prepared: in which the whole row is returned');
	$gate->quit;
	$holder->finish;
	is($err, '', 'prepared: who waited meanwhile met no error');
	is($node->safe_psql('postgres', q{
			SELECT string_agg(ltrim(replace(id::text, '-', ''), '0') || ' ' || fate, ', ' ORDER BY id) FROM kept.petition_submissions_fates WHERE id > lpad('4000', 32, '0')::uuid;
			SELECT count(*) FROM verify_fates('kept.petition_submissions')}),
		"4001 DEFERRED_5, 4002 DEFERRED_5, 4101 REFERRED, 4102 REFERRED, 4104 REFERRED, 4105 REFERRED, 4201 DEFERRED_5, 4202 REFERRED, 4203 REFERRED\n0",
		'prepared: and exactly these are decided');
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
