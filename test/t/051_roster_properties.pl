# Rosters against independent implementations: the hash against Perl's SHA-256,
# each operator of the filter language against the same WHERE clause, over
# random data from a fixed seed; other encodings; and memory.
use strict;
use warnings;
use utf8;

use Digest::SHA qw(sha256_hex);
use Encode qw(encode_utf8);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{ROSTER_SEED} // 20261121;
srand($seed);
note "seed $seed";

my $node = PostgreSQL::Test::Cluster->new('roster');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION petition_cas');

sub any_of { return $_[ int rand @_ ]; }

# A dollar-quoted SQL literal, or NULL.
sub literal
{
	my ($value) = @_;
	return defined $value ? "\$lit\$$value\$lit\$" : 'NULL';
}

# The contract, in Perl: what the bytes are, sorted as bytes, each once.
sub contract_hash
{
	my ($scope, @ids) = @_;
	my %seen = map { encode_utf8($_) => 1 } @ids;
	return sha256_hex(join '', map { "$_\n" } encode_utf8($scope // ''), sort keys %seen);
}

my @letters = ('a' .. 'e', 'Z', ' ', '"', "'", '\\', ',', '{', '}', 'ä', 'ß', '日', '😀', 'é', "\t", '|', '-');
my %make = (
	text => sub { return join '', map { any_of(@letters) } 1 .. int rand 12; },
	bigint => sub { return any_of(0, int(rand 20) - 10, int(rand 2e9) * any_of(1, -1) * any_of(1, 1000)); },
	smallint => sub { return int(rand 65536) - 32768; },
	uuid => sub {
		return join '-', map { my $n = $_; join '', map { any_of('0' .. '9', 'a' .. 'f') } 1 .. $n } 8, 4, 4, 4, 12;
	});

# 240 random sets: empty, of one, with duplicates, in no order, some large
my $sql = 'CREATE TABLE sets (type text, scope text, ids text[], expected text);';
for my $n (1 .. 240)
{
	my $type = any_of(sort keys %make);
	my @ids = map { $make{$type}->() } 1 .. any_of(0, 1, 2, int rand 30, int rand 30, $n % 20 ? 3 : 3000);
	push @ids, any_of(@ids) for 1 .. (@ids ? int rand 4 : 0);
	my $scope = any_of(undef, '', 'north', 'süd "x"');
	$sql .= sprintf "INSERT INTO sets VALUES ('%s', %s, ARRAY[%s]::text[], '%s');\n",
	  $type, literal($scope), join(',', map { literal($_) } @ids), contract_hash($scope, @ids);
}
$sql .= <<'SQL';
CREATE FUNCTION hash_of(type text, ids text[], scope text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hash text;
BEGIN
	EXECUTE format('SELECT roster_hash($1::%s[], $2)', type) INTO hash USING ids, scope;
	RETURN hash;
END $$;
CREATE FUNCTION hash_of_rows(type text, ids text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hash text;
BEGIN
	EXECUTE format('SELECT roster_hash_agg(id::%s) FROM unnest($1) AS id', type) INTO hash USING ids;
	RETURN hash;
END $$;
SQL
$node->safe_psql('postgres', encode_utf8($sql));
is($node->safe_psql('postgres', 'SELECT count(*) FROM sets'), '240', '240 random sets');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sets WHERE hash_of(type, ids, scope) <> expected'),
	'0', 'roster_hash of an array is what the contract says');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM sets WHERE coalesce(scope, '') = '' AND hash_of_rows(type, ids) <> expected}),
	'0', 'roster_hash_agg too');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sets WHERE hash_of('text', ids, scope) <> expected}),
	'0', 'and the general path, on the text forms of every type');
is( $node->safe_psql(
		'postgres', q{SELECT count(*) FROM sets, LATERAL (SELECT array_agg(id ORDER BY md5(id || 'x')) || ids[1:2] AS ids FROM unnest(ids) AS id) AS other
			WHERE hash_of(type, other.ids, scope) <> expected AND sets.ids <> '{}'}),
	'0', 'order and doubles do not matter');

# each operator, over random rows with nulls
$node->safe_psql('postgres', encode_utf8(<<'SQL'));
SELECT setseed(0.5);
CREATE TABLE facts AS
SELECT i AS id, a.*
FROM generate_series(1, 400) AS i, LATERAL (SELECT
	CASE WHEN random() > 0.2 THEN (random() * 20 + 0 * i)::int - 10 END AS n,
	CASE WHEN random() > 0.2 THEN (random() * 20)::int / 4.0 END AS d,
	CASE WHEN random() > 0.2 THEN (ARRAY['ann', 'bob', 'cy d', 'ä', '', '"', '\', 'a|b', '5..6', '*', 'B'])[1 + (random() * 10.49)::int] END AS t,
	CASE WHEN random() > 0.2 THEN date '2026-01-01' + (random() * 20)::int END AS day,
	CASE WHEN random() > 0.2 THEN random() > 0.5 END AS b,
	CASE WHEN random() > 0.2 THEN md5(((random() * 9)::int)::text)::uuid END AS u) AS a;
CREATE TABLE checks (filter text, condition text);
SQL
my %values = (
	n => sub { return int(rand 24) - 12; },
	d => sub { return int(rand 24) / 4; },
	t => sub { return any_of('ann', 'bob', 'cy d', 'ä', '', '"', '\\', 'a|b', '5..6', '*', 'B', 'b', 'zz'); },
	day => sub { return sprintf '2026-01-%02d', 1 + int rand 24; },
	b => sub { return any_of('true', 'false', 't', 'no'); },
	u => sub { return any_of('c4ca4238-a0b9-2382-0dcc-509a6f75849b', 'C81E728D-9D4C-2F63-6F06-7F89CC14862C', '00000000-0000-0000-0000-000000000000'); });

# A value as the language writes it: bare if it can be, or for no reason quoted.
sub written
{
	my ($value) = @_;
	return $value if $value =~ /^[\wä.-]+$/ && $value !~ /\.\./ && rand() < 0.7;
	(my $quoted = $value) =~ s/(["\\])/\\$1/g;
	return "\"$quoted\"";
}

my $checks = 'INSERT INTO checks VALUES ';
my @rows;
for my $n (1 .. 600)
{
	my (@filter, @condition);
	for (1 .. any_of(1, 1, 1, 2, 3))
	{
		my $field = any_of(sort keys %values);
		my @v = map { $values{$field}->() } 1 .. 3;
		my ($form, $where);
		my $kind = any_of(qw(= = | | < <= > >= .. *));
		if ($kind eq '=') { $form = written($v[0]); $where = "$field = " . literal($v[0]); }
		elsif ($kind eq '|')
		{
			$form = join '|', map { written($_) } @v;
			$where = "$field IN (" . join(', ', map { literal($_) } @v) . ')';
		}
		elsif ($kind eq '..')
		{
			$form = written($v[0]) . '..' . written($v[1]);
			$where = "$field BETWEEN " . literal($v[0]) . ' AND ' . literal($v[1]);
		}
		elsif ($kind eq '*') { $form = '*'; $where = "$field IS NOT NULL"; }
		else { $form = $kind . written($v[0]); $where = "$field $kind " . literal($v[0]); }
		my $negated = rand() < 0.3;
		push @filter, ($negated ? '-' : '') . "$field:$form";
		push @condition, $negated ? "coalesce(NOT ($where), true)" : "($where)";
	}
	push @rows, sprintf '($f$%s$f$, $f$%s$f$)', join(any_of(' ', "\n", "  \t"), @filter), join(' AND ', @condition);
}
$node->safe_psql('postgres', encode_utf8($checks . join ",\n", @rows));
is( $node->safe_psql('postgres', <<'SQL'), '600 operators checked, 0 wrong, some and not all selected', 'each operator selects what the WHERE clause selects');
CREATE FUNCTION where_of(condition text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	ids text[];
BEGIN
	EXECUTE format('SELECT coalesce(array_agg(id::text ORDER BY id::text COLLATE "C"), ''{}'') FROM facts WHERE %s', condition) INTO ids;
	RETURN ids;
END $$;
SELECT format('%s operators checked, %s wrong, %s', count(*),
	count(*) FILTER (WHERE resolved_ids <> where_of(condition) OR roster_hash <> roster_hash(where_of(condition))),
	CASE WHEN bool_or(cardinality(resolved_ids) BETWEEN 1 AND 399) THEN 'some and not all selected' END)
FROM checks, resolve_roster('facts', filter);
SQL

# another encoding: the hash is still that of UTF-8, ids come back as they were
$node->safe_psql('postgres', q{CREATE DATABASE latin1 ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'});
$node->safe_psql('latin1', 'CREATE EXTENSION petition_cas');
my $ids = q{ARRAY['ä' COLLATE "C", 'z', 'a', 'ö']};
is($node->safe_psql('latin1', encode_utf8("SET client_encoding = utf8; SELECT roster_hash($ids, 'süd')")),
	contract_hash('süd', qw(ä z a ö)), 'LATIN1: the hash is that of the UTF-8 text');
is( $node->safe_psql('latin1', encode_utf8(<<'SQL')), encode_utf8('{a,ä,ö}|t|{ä}'), 'LATIN1: filters, ids and order');
SET client_encoding = utf8;
CREATE TABLE t (id text, n int);
INSERT INTO t VALUES ('ä', 1), ('ö', 2), ('a', 3), ('z', 4);
SELECT r.resolved_ids, v.valid, v2.added
FROM resolve_roster('t', 'n:<=3') AS r, validate_roster('t', 'n:<=3', r.resolved_ids, r.roster_hash) AS v,
	validate_roster('t', 'id:"ä"', '{}', roster_hash('{}'::text[])) AS v2;
SQL
my ($code, $out, $err) = $node->psql('latin1', encode_utf8("SET client_encoding = utf8; SELECT parse_filter('ä:ö x')"));
like($err, qr/at character 6\b/, 'LATIN1: positions count characters');

# settings that need something of the machine: a locale with another currency,
# and libxml
SKIP:
{
	my ($locale) = grep { /^(en_US|en_GB|de_DE|fr_FR|ja_JP)\.utf-?8$/i } map { s/\s+//gr } qx{locale -a};
	skip 'no locale with a currency', 1 unless $locale;
	is( $node->safe_psql('postgres', <<SQL), '{1.00}|t|{1}', 'money, whatever the currency');
CREATE TABLE cash AS SELECT 1 AS id, 1::money AS price;
SET lc_monetary = '$locale';
SELECT translate(r.resolved_ids::text, '\$', ''), r.roster_hash = roster_hash(ARRAY['\$1.00']), f.resolved_ids
FROM resolve_roster('cash', '', key_column => 'price') AS r, resolve_roster('cash', 'price:"\$1.00"') AS f;
SQL
}
SKIP:
{
	skip 'no libxml', 1 if ($node->psql('postgres', q{SELECT '<a/>'::xml}))[0] != 0;
	is( $node->safe_psql('postgres', <<'SQL'), 't', 'xml, whether documents or content are read');
CREATE TABLE papers AS SELECT 'text <b/>'::xml AS id;
SET xmloption = document;
SELECT v.valid FROM resolve_roster('papers', '') AS r, validate_roster('papers', '', r.resolved_ids, r.roster_hash) AS v;
SQL
}

# a million uuids within 200 MB, the argument included; but not the copies that
# PL/pgSQL makes of it, which a call that does nothing has as well
SKIP:
{
	skip 'needs /proc', 1 unless -w '/proc/self/clear_refs';
	my $mb = $node->safe_psql('postgres', <<'SQL');
CREATE UNLOGGED TABLE million AS SELECT gen_random_uuid() AS id FROM generate_series(1, 1000000);
VACUUM million;
CREATE FUNCTION memory(key text) RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT substring(pg_read_file('/proc/self/status') FROM key || ':\s*(\d+)')::bigint / 1024
$$;
DO $$
DECLARE
	ids text[];
	hash text;
	peak bigint[];
	call text;
BEGIN
	SELECT resolved_ids[11:], roster_hash(resolved_ids[11:]) INTO ids, hash FROM resolve_roster('million', '');
	FOREACH call IN ARRAY ARRAY['SELECT cardinality($1), $2', 'SELECT FROM validate_roster(''million'', '''', $1, $2)'] LOOP
		COPY (SELECT 5) TO '/proc/self/clear_refs';	-- forgets the peak
		EXECUTE call USING ids, hash;
		peak := peak || memory('VmHWM');
	END LOOP;
	CREATE TABLE used AS SELECT peak[2] - peak[1] + pg_column_size(ids) / 1024 / 1024 AS mb;
END $$;
SELECT mb FROM used;
SQL
	cmp_ok($mb, '<=', 200, "a million uuids take $mb MB");
}

$node->stop;
done_testing();
