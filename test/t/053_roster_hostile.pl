# Random and mutated filters and ids, through resolve_roster and validate_roster:
# no crash, no internal error, no effect.
#
# ROSTER_HOSTILE is their number, ROSTER_SEED where they start.
use strict;
use warnings;
use utf8;

use Encode qw(encode_utf8);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $count = $ENV{ROSTER_HOSTILE} || 200_000;
my $seed = $ENV{ROSTER_SEED} || 20261121;
srand($seed);
note "seed $seed";

my $node = PostgreSQL::Test::Cluster->new('hostile');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION petition_cas;
CREATE TABLE victim (id text PRIMARY KEY, n int, t text, d date, j json, a int[], u uuid, m timestamptz, r tstzrange, "q ""c" int);
INSERT INTO victim SELECT 'k' || i, i, 't' || i % 3, date '2026-01-01' + i, '{}', ARRAY[i], md5(i::text)::uuid,
	timestamptz '2026-01-01 UTC' + i * interval '1 h', tstzrange('2026-01-01 UTC', NULL), i FROM generate_series(1, 20) AS i;
CREATE TABLE hostile (nr int, filter text, ids text[], hash text);
SQL

sub any_of { return $_[ int rand @_ ]; }

my @good = (
	'n:5', 't:t1|t2', 'd:2026-01-01..2026-01-09', '-n:>=5', 'u:c4ca4238-a0b9-2382-0dcc-509a6f75849b', 'a:"{1}"|"{2}"',
	'j:*', 'm:>"2026-01-01 03:00+00"', '"q \"c":5', 't:"t1" n:<5 -d:*', 'r:"[2026-01-01,)"', 'id:k1|k2|k3', '');
my @pieces = (
	@good, ':', '|', '"', '\\', '..', '*', '-', '>', '<', '>=', '<=', '=', ' ', "\n", "\t", "'", "''", '--', ';', '/*', '*/', '$1', '$$',
	'%s', '%n', '{', '}', '(', ')', ',', 'NULL', 'null', 'ctid', 'tableoid', 'victim', 's', 's.n', 'n', 't', 'd', 'j', 'a', 'u', 'm', 'r',
	'DROP TABLE victim', "'; DELETE FROM victim; --", "x' OR '1'='1", 'n) OR (true', 'pg_sleep(9)', '0', '-1', '99999999999999999999', '1e400', 'NaN',
	'infinity', '-infinity', 'epoch', 'now', 'ä', '日本', '😀', "\x{feff}", "\x{200b}", "\x01", "\x7f", "\r", 'é' x 70, 'x' x 200, '{{{{', '[[', '\\x00', 'E\'\\x\'');

# A filter: pieces, or a good one with a few characters changed.
sub filter
{
	return join any_of('', '', ' '), map { any_of(@pieces) } 1 .. 1 + int rand 8 if rand() < 0.5;

	my $filter = join ' ', map { any_of(@good) } 1 .. 1 + int rand 3;
	for (1 .. int rand 5)
	{
		my $at = int rand(1 + length $filter);
		substr($filter, $at, int rand 3) = rand() < 0.5 ? any_of(@pieces) : chr(1 + int rand(any_of(127, 0xd7ff)));
	}
	return $filter;
}

# Things that are too large in one way or another.
my @large = (
	'n:5 ' x 100_000, 't:"' . 'x' x 1_000_000 . '"', 't:' . 'x' x 1_000_000, 'n:' . '9' x 1_000_000, 'x' x 1_000_000 . ':1',
	'n:' . '1|' x 100_000 . '1', 'n:' . '1|' x 9_999 . '1', 't:' . '"a"|' x 9_999 . 'b', 'a:' . '"{1}"|' x 2_000 . '"{2}"', '"' x 500_000, '\\' x 1_000_000,
	't:"' . '\\"' x 400_000 . '"', '-' x 1_000_000, ':' x 1_000_000, "\n" x 1_000_000, 'a:"' . '{' x 500_000 . '"', 'j:*' . ' j:*' x 99, 'n:>0 ' x 100, 'ä' x 500_000,
	'r:"' . '[' x 500_000, 'd:' . '2026-' x 100_000, 'n:1..' x 1000, 'u:' . '0' x 1_000_000);

# For COPY: what backslashes mean there, and arrays inside.
sub copy_text
{
	my ($text) = @_;
	$text =~ s/\\/\\\\/g;
	$text =~ s/\n/\\n/g;
	$text =~ s/\t/\\t/g;
	$text =~ s/\r/\\r/g;
	return $text;
}

sub array
{
	return '{' . join(',', map { my $e = $_; defined $e ? do { $e =~ s/(["\\])/\\$1/g; "\"$e\"" } : 'NULL' } @_) . '}';
}

my $file = $node->basedir . '/hostile.copy';
open my $copy, '>:encoding(UTF-8)', $file or die;
for my $nr (1 .. $count)
{
	my $filter = $nr <= @large ? $large[ $nr - 1 ] : filter();
	my @ids = map { rand() < 0.7 ? 'k' . int rand 25 : rand() < 0.05 ? undef : any_of(@pieces) } 1 .. int rand 5;
	@ids = ('x' x 1_000_000, $large[$nr - 1]) if $nr <= @large;
	my $hash = any_of('right', 'right', 'right', '', 'x', any_of(@pieces));
	print $copy join("\t", $nr, map { copy_text($_) } $filter, array(@ids), $hash), "\n";
}
close $copy;
chmod 0644, $file;
$node->safe_psql('postgres', "COPY hostile FROM '$file'");
is($node->safe_psql('postgres', 'SELECT count(*) FROM hostile'), $count, "$count inputs");

# Every source and key in turn; ids that can be hashed get their right hash.
my $before = $node->safe_psql('postgres', 'SELECT md5(string_agg(v::text, chr(10) ORDER BY id)) FROM victim AS v');
my ($code, $out, $err) = $node->psql('postgres', <<'SQL', timeout => 1200);
CREATE UNLOGGED TABLE outcome (nr int, call text, state text, message text);
CREATE VIEW seen_victim AS SELECT *, id AS "key column" FROM victim;
CREATE PROCEDURE attack() LANGUAGE plpgsql AS $$
DECLARE
	h hostile;
	state text;
	message text;
	hash text;
	key name;
BEGIN
	FOR h IN SELECT * FROM hostile LOOP
		state := NULL;
		key := (ARRAY['id', 'u', 'n', 'm', 'key column'])[1 + h.nr % 5];
		BEGIN
			IF h.nr % 2 = 0 THEN
				PERFORM resolve_roster('seen_victim', h.filter, key_column => key);
			ELSE
				hash := h.hash;
				IF hash = 'right' THEN
					hash := roster_hash(h.ids);
				END IF;
				PERFORM validate_roster('seen_victim', h.filter, h.ids, hash, key_column => key);
			END IF;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
		END;
		INSERT INTO outcome VALUES (h.nr, CASE WHEN h.nr % 2 = 0 THEN 'resolve' ELSE 'validate' END,
			coalesce(state, 'ok'), CASE WHEN state LIKE 'XX%' THEN message END);
	END LOOP;
END $$;
CALL attack();
SQL
is($code, 0, 'all of them went through one session') or diag $err;
is($node->safe_psql('postgres', 'SELECT count(*) FROM outcome'), $count, 'each had an outcome');
is( $node->safe_psql('postgres', q{SELECT nr, state, message FROM outcome WHERE state NOT IN
	('ok', '42601', '42703', '42883', '54000', '22004', '22023', '22P02', '22003', '22007', '22008', '22009', '22000', '54001') LIMIT 20}),
	'', 'no error but those that are documented, above all no internal one');
is($node->safe_psql('postgres', q{SELECT count(DISTINCT state) >= 8 FROM outcome}), 't', 'many kinds of them');
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM outcome WHERE state = 'ok'}), '>', $count / 50, 'some filters were good');
is($node->safe_psql('postgres', 'SELECT md5(string_agg(v::text, chr(10) ORDER BY id)) FROM victim AS v'), $before, 'the rows are as they were');
note $node->safe_psql('postgres', q{SELECT string_agg(format('%s %s: %s', call, state, n), ', ') FROM (SELECT call, state, count(*) AS n FROM outcome GROUP BY 1, 2 ORDER BY 1, 2) AS s});
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal|TRAP:/, 'no crash in the log');

$node->stop;
done_testing();
