# The whole server is killed (SIGKILL, the postmaster and all its children) while
# 8 clients fight for petitions and orders, again and again. Each fate that a client was
# told is there, none was told twice, rows and ledger agree.
#
# PETITION_CAS_CRASH_CYCLES says how often.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Load;
use PostgreSQL::Test::Cluster;
use Test::More;

my $cycles = count_of('PETITION_CAS_CRASH_CYCLES', 5);
my $node = PostgreSQL::Test::Cluster->new('crash');

$node->init;
$node->append_conf('postgresql.conf', load_conf());
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION petition_cas');

my $folder = prepare_clients($node->basedir);
my (%total, %fingerprints);

for my $cycle (1 .. $cycles)
{
	my $schema = "cycle_$cycle";

	create_round($node, $schema);
	my $running = start_clients($node, $folder, $schema);

	wait_for_load(500, 0.5, glob "$folder/*.out");
	kill_server($node);
	my $told = finish_clients($running, $folder);

	$node->start;
	my $figures = check_round($node, $schema, $told);

	is_deeply(
		{ map { $_ => $figures->{$_} } qw(lost double disagreeing problems reassigned trouble) },
		{ map { $_ => 0 } qw(lost double disagreeing problems reassigned trouble) },
		"cycle $cycle: $figures->{acknowledged} fates acknowledged, $figures->{unacknowledged} more committed, $figures->{losers} losers told");
	cmp_ok($figures->{acknowledged}, '>', 100, "cycle $cycle: there was load");
	add_figures(\%total, $figures);
	$fingerprints{$schema} = fingerprint($node, $schema);
}

# What was there after one crash is there after all those that followed.
is_deeply([ grep { fingerprint($node, $_) ne $fingerprints{$_} } keys %fingerprints ],
	[], 'the later crashes took nothing away');

diag("figures: $cycles crashes, $total{acknowledged} fates acknowledged: $total{lost} lost, $total{double} double; "
	  . "$total{unacknowledged} committed but not acknowledged; $total{losers} losers were told so");

$node->stop;
done_testing();
