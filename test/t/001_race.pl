# A race of 8 clients over 500 petitions at each isolation level: 500 winners,
# the stored state and the ledger row the winner's, and every loser told PF001
# or PF002. Never 40001, and no other error.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Race;
use Test::More;

my $node = new_server('race');

for my $level ('read committed', 'repeatable read', 'serializable')
{
	fill_petitions($node, 500);
	my @attempts = race(
		$node,
		clients => 8,
		level => $level,
		petitions => sub { [ 1 .. 500 ] },
		hold => 0.001);
	is(scalar(@attempts), 8 * 500, "$level: every attempt has an outcome");
	my ($by_client) = check_race($node, $level, 500, @attempts);
	cmp_ok(scalar(keys %$by_client), '>=', 2, "$level: it was a race: more than one client won");
	cmp_ok(scalar(grep { $_->{outcome} =~ /PF001|concurrent/ } @attempts), '>', 0, "$level: and losers were told PF001");
}

$node->stop;
done_testing();
