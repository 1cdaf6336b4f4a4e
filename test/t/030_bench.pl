# The benchmark works: each of its workloads runs once, on few rows, with all of
# its contenders. Nothing is timed. The benchmark itself counts the fates and
# the ledger rows, and fails if one is missing.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bench = "$FindBin::Bin/../../bench";
my $scratch = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('bench');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nmax_connections = 100\n");
$node->start;

local $ENV{TMPDIR} = $scratch;
local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'postgres');
my ($measured, $progress);
ok(IPC::Run::run([ $^X, "$bench/run.pl", '--smoke' ], '>', \$measured, '2>', \$progress), 'each workload runs')
	or diag $progress;

# How many contenders a folder has.
sub contenders
{
	my ($folder) = @_;
	return scalar grep { !/\.setup\.sql$/ } glob "$bench/$folder/*.sql";
}

# Windows may come out too short for some settings; the first that counts must
# have all contenders.
my %found;
$found{$_->[0]}{$_->[1]}{$_->[3]} = $_->[4] for map { [ split /\t/ ] } split /\n/, $measured;
my %folder = (turns => 'rivals', single => 'rivals', map { $_ => $_ } qw(orders bulk hot outbox untouched seen history history_fate copy govern));
for my $workload (sort keys %folder)
{
	my ($setting) = sort keys %{ $found{$workload} };
	if (!defined $setting && $progress =~ /do not count/)
	{
		pass("$workload ran, in windows that came out too short");
		next;
	}
	my @rates = values %{ $found{$workload}{ $setting // '' } };
	is(scalar @rates, contenders($folder{$workload}), "$workload measured all contenders");
	is(scalar(grep { $_ > 0 } @rates), scalar @rates, "$workload: each made calls");
}
is(scalar keys %{ $found{growth}{'petitions 10000'} }, 3, 'growth measured three contenders');
is(scalar keys %{ $found{ddl}{'all of these'} }, 2, 'ddl measured both databases');
is(scalar keys %{ $found{ddl} }, contenders('ddl') + 4, 'ddl measured each command');

append_to_file("$scratch/bench.tsv", $measured);
append_to_file("$scratch/preface", "# Measurements\n");
my @report = map { "$scratch/$_" } qw(bench.tsv bench.md bench.svg);
ok(IPC::Run::run([ $^X, "$bench/report.pl", @report ], '<', "$scratch/preface", '>', \my $report), 'the report is written');
like($report, qr/^\| petition_cas: assign_fate \| [\d.]+ \|/m, 'it has a line for assign_fate');
like(slurp_file("$scratch/bench.md"), qr/^# Measurements\n.*^## Growing tables/ms, 'its file has preface and tables');

my $rosters = $node->psql('postgres', '', stdout => \my $out, stderr => \my $err, on_error_stop => 1,
	extra_params => [ '-v', 'rows=1000', '-v', 'rounds=1', '-f', "$bench/roster.sql" ]);
is($rosters, 0, 'the measurements of rosters run') or diag $err;

done_testing();
