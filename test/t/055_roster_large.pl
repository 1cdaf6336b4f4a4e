# Rosters that are too large for an array or for a row: an error that says so, at
# the limit of 1 GB, rather than a crash. It takes some 5 GB of memory, and so
# PETITION_CAS_LARGE=1.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'PETITION_CAS_LARGE is not set' unless $ENV{PETITION_CAS_LARGE};

my $node = PostgreSQL::Test::Cluster->new('large');
$node->init;
$node->append_conf('postgresql.conf', 'fsync = off');
$node->start;

# Ids of 1 MB each, made when they are asked for.
$node->safe_psql('postgres', q{
	CREATE EXTENSION petition_cas;
	CREATE VIEW members AS SELECT n, n || repeat('x', 1000000) AS id FROM generate_series(1, 1100) n});

# What a query says, in which an array stands for its number of elements.
sub told
{
	my ($query) = @_;
	my ($out, $err);
	$node->psql('postgres', $query, stdout => \$out, stderr => \$err, on_error_stop => 0, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $out . ($err =~ /^psql:\S+ (ERROR:  .*)/ ? $1 : $err);
}

sub resolve
{
	my ($filter) = @_;
	return told("SELECT cardinality(resolved_ids) FROM resolve_roster('members', '$filter')");
}

sub validate
{
	my ($filter) = @_;
	return told("SELECT cardinality(resolved_ids), cardinality(added) FROM validate_roster('members', '$filter', '{}', roster_hash('{}'::text[]))");
}

is(resolve('n:1..1070'), '1070', 'as many ids as fit into an array');
is(resolve(''), 'ERROR:  54000: roster of 1100 ids is too large for an array', 'more than an array can have');
is(validate('n:1..530'), '530|530', 'as many ids as fit into a row twice');
# Some servers' own check comes before ours.
like(validate('n:1..550'), qr/^ERROR:  54000: (roster is too large for a row|tuple is too big)$/, 'more than a row can have');
is(resolve('n:1..2'), '2', 'the server is well');

done_testing();
