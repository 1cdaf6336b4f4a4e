# The primary is killed while 8 clients fight for petitions, and its synchronous
# standby promoted: each fate that a client was told is there, none was told
# twice, rows and ledger agree. While a server is a standby, it refuses to
# assign fates, and answers questions.
#
# PETITION_CAS_FAILOVERS says how often; each new primary gets a new standby.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Load;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $failovers = count_of('PETITION_CAS_FAILOVERS', 1);

# Commits on the primary wait until the standby has applied them.
sub new_standby
{
	my ($primary, $name) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$primary->backup($name);
	$standby->init_from_backup($primary, $name, has_streaming => 1);
	$standby->start;
	$primary->append_conf('postgresql.conf', "synchronous_standby_names = '$name'\nsynchronous_commit = remote_apply\n");
	$primary->reload;
	$primary->poll_query_until('postgres', "SELECT sync_state = 'sync' FROM pg_stat_replication")
	  or die 'the standby does not become synchronous';
	return $standby;
}

my $first = "'00000000-0000-0000-0001-000000000000'";
my $all = "'DELIBERATING', 'ACKNOWLEDGED'";
my @writes = (
	"assign_fate($first, $all)",
	"try_assign_fate($first, $all)",
	"assign_fates(ARRAY[$first]::uuid[], $all)",
	"compare_and_swap(null::petition_submissions, $first, $all)",
	"try_compare_and_swap(null::petition_submissions, $first, $all)",
	"govern('petition_submissions', petition_lifecycle())",
	"ungovern('petition_submissions')",
	"extend_lifecycle('petition_submissions', '{\"DELIBERATING\": [\"DEFERRED\"]}')",
	"backfill_fates('petition_submissions')",
	"create_petitions()");

# A standby refuses whatever writes, says so, and can be asked.
sub check_standby
{
	my ($standby, $schema) = @_;
	my ($out, $err);

	for my $call (@writes)
	{
		$standby->psql('postgres', "\\set VERBOSITY verbose\nSET search_path = $schema, public; SELECT $call", stderr => \$err);
		like($err, qr/ERROR:  25006: cannot execute .* (in a read-only transaction|during recovery)/, "a standby refuses $call");
	}
	$standby->psql('postgres', "\\set VERBOSITY verbose\nUPDATE $schema.petition_submissions SET state = 'REFERRED' WHERE id = $first", stderr => \$err);
	like($err, qr/ERROR:  25006: cannot execute UPDATE/, 'a standby refuses UPDATE');
	$out = $standby->safe_psql('postgres', qq{
		SET search_path = $schema, public;
		SELECT is_fate('petition_submissions', 'REFERRED'), allowed_transitions('petition_submissions', 'RECEIVED'),
			lifecycle('petition_submissions') = petition_lifecycle(),
			(SELECT count(*) FROM verify_fates('petition_submissions')),
			(SELECT count(*) FROM petition_submissions_fates);
		SELECT lifecycle_diagram('petition_submissions') ~ 'stateDiagram-v2'});
	is($out, "t|{DELIBERATING,ACKNOWLEDGED}|t|0|0\nt", 'a standby answers questions');
	return;
}

my $primary = PostgreSQL::Test::Cluster->new('server_0');

$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', load_conf());
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION petition_cas');

my $folder = prepare_clients(PostgreSQL::Test::Utils::tempdir("clients"));
my (%total, %fingerprints);

for my $failover (1 .. $failovers)
{
	my $schema = "failover_$failover";
	my $standby = new_standby($primary, "server_$failover");

	create_round($primary, $schema);
	check_standby($standby, $schema) if $failover == 1;

	my $running = start_clients($primary, $folder, $schema);
	wait_for_load(1000, 1, glob "$folder/*.out");
	kill_server($primary);
	my $told = finish_clients($running, $folder);

	$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$standby->promote;
	$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'the standby was not promoted';
	my $figures = check_round($standby, $schema, $told);

	is_deeply(
		{ map { $_ => $figures->{$_} } qw(lost double disagreeing problems reassigned trouble) },
		{ map { $_ => 0 } qw(lost double disagreeing problems reassigned trouble) },
		"failover $failover: $figures->{acknowledged} fates acknowledged, $figures->{unacknowledged} more replicated, $figures->{losers} losers told");
	cmp_ok($figures->{acknowledged}, '>', 100, "failover $failover: there was load");
	is($standby->safe_psql('postgres', "SET search_path = $schema, public;
			SELECT count(*) FROM petition_submissions p, try_assign_fate(p.id, 'DELIBERATING', 'ESCALATED')
			WHERE p.id IN (SELECT id FROM petition_submissions WHERE state = 'DELIBERATING' LIMIT 10) AND outcome = 'assigned'"),
		10, "failover $failover: the new primary assigns fates");
	add_figures(\%total, $figures);
	$fingerprints{$schema} = fingerprint($standby, $schema);
	$primary->clean_node;
	$primary = $standby;
}

# What was there after one failover is there after all those that followed.
is_deeply([ grep { fingerprint($primary, $_) ne $fingerprints{$_} } keys %fingerprints ],
	[], 'the later failovers took nothing away');

diag("figures: $failovers failovers, $total{acknowledged} fates acknowledged: $total{lost} lost, $total{double} double; "
	  . "$total{unacknowledged} replicated but not acknowledged; $total{losers} losers were told so");

$primary->stop;
done_testing();
