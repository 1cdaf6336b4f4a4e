# What each character is to a filter: white space, part of a word, or neither.
# Every code point there is, against the table, the table against this Perl's
# Unicode, and other encodings against UTF-8.
use strict;
use warnings;
use utf8;

use Encode qw(encode_utf8);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Unicode::UCD;

my $table = slurp_file('src/filter_ranges.h');
my ($version) = $table =~ /from Unicode (\S+)\.$/m;
ok($version, 'the table says which Unicode it is from');
SKIP:
{
	skip "this Perl has another Unicode than $version", 1 if Unicode::UCD::UnicodeVersion() ne $version;
	is(scalar qx{$^X src/filter_ranges.pl}, $table, 'the table is what filter_ranges.pl writes');
}

# The ranges of a class, as text, with what ASCII has; the table has the lengths
# of what is outside and what is inside, in turn.
sub ranges
{
	my ($name, @ranges) = @_;
	my ($body) = $table =~ /$name\[\] = \{(.*?)\};/s;
	my ($end, @runs) = (0, $body =~ /\d+/g);
	while (my ($outside, $inside) = splice @runs, 0, 2)
	{
		push @ranges, [ $end + $outside, $end + $outside + $inside - 1 ];
		$end += $outside + $inside;
	}
	return join ' ', map { sprintf '%x-%x', @$_ } @ranges;
}

my $node = PostgreSQL::Test::Cluster->new('characters');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;

# What a character is, from what becomes of it between two terms.
my $what = <<'SQL';
SET client_encoding = utf8;
CREATE EXTENSION petition_cas;
CREATE FUNCTION what(c text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE jsonb_array_length(parse_filter('a:b' || c || 'c:d')) WHEN 2 THEN 'space' ELSE 'word' END;
EXCEPTION WHEN syntax_error THEN
	RETURN 'refused';
END $$;
SQL
$node->safe_psql('postgres', $what);
$node->safe_psql('postgres', <<'SQL');
CREATE UNLOGGED TABLE every AS
SELECT code, what(chr(code)) FROM generate_series(1, 1114111) AS code WHERE code NOT BETWEEN 55296 AND 57343 AND chr(code) !~ '[-_./:@+#$|]';
SQL
sub found
{
	my ($what) = @_;
	return $node->safe_psql('postgres', <<"SQL");
SELECT string_agg(to_hex(first) || '-' || to_hex(last), ' ' ORDER BY first)
FROM (SELECT min(code) AS first, max(code) AS last FROM (SELECT code, code - row_number() OVER (ORDER BY code) AS island FROM every WHERE what = '$what') AS e GROUP BY island) AS i
SQL
}
is(found('space'), ranges('space_ranges', [ 0x09, 0x0d ], [ 0x20, 0x20 ]), 'white space');
is(found('word'), ranges('word_ranges', [ 0x30, 0x39 ], [ 0x41, 0x5a ], [ 0x61, 0x7a ]), 'letters, marks and digits');

# Other encodings: each of their characters is what it is in UTF-8.
sub create
{
	my ($encoding) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $encoding ENCODING '$encoding' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql($encoding, $encoding eq 'sql_ascii' ? $what =~ s/^SET.*\n//r : $what);
}
create('latin1');
is( $node->safe_psql('latin1', 'SET client_encoding = utf8; SELECT string_agg(what(chr(code)), \' \' ORDER BY code) FROM generate_series(128, 255) AS code'),
	$node->safe_psql('postgres', 'SELECT string_agg(what, \' \' ORDER BY code) FROM every WHERE code BETWEEN 128 AND 255'),
	'latin1');
create('koi8r');
is($node->safe_psql('koi8r', encode_utf8("SET client_encoding = utf8; SELECT what('Ж'), what('═'), what(chr(154))")), 'word|refused|space', 'koi8r');
create('euc_jp');
is( $node->safe_psql('euc_jp', encode_utf8(<<'SQL')), encode_utf8('word|word|space|refused|refused|[{"field": "名", "values": ["日本"], "negated": false, "operator": "="}]'), 'euc_jp');
SET client_encoding = utf8;
SELECT what('日'), what('ア'), what('　'), what('、'), what('：'), parse_filter('名:日本');
SQL

# SQL_ASCII does not say what a byte is: what is not ASCII must be quoted.
create('sql_ascii');
is($node->safe_psql('sql_ascii', encode_utf8(q{SELECT what('é'), what('x'), what(' '), parse_filter('"é":"é"')})),
	encode_utf8('refused|word|space|[{"field": "é", "values": ["é"], "negated": false, "operator": "="}]'), 'sql_ascii');
my ($code, $out, $err) = $node->psql('sql_ascii', encode_utf8(q{SELECT parse_filter('a:é')}));
like($err, qr/at character 3: text with byte 0xC3 must be in double quotes/, 'sql_ascii: the error names the byte');

$node->stop;
done_testing();
