# A page of the documentation: the blocks that it has, what of an output is compared, and
# how what was printed is written into it.

package Page;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(read_blocks masked write_page);

# What is replaced by what before two outputs are compared
my @masks = (
	[ qr/\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d(:\d\d)?)?/, 'TIME' ],
	[ qr/"transaction_id": "?\d+"?/, 'XID' ],
	[ qr/\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-(?!0000)[0-9a-f]{12}\b/, 'UUID' ],
	[ qr/\b[0-9a-f]{32}\b/, 'MD5' ],
	[ qr{\b[0-9A-F]{1,8}/[0-9A-F]{7,8}\b}, 'LSN' ],
	[ qr{/tmp/[\w./-]+}, 'PATH' ],
	[ qr/\bport \d+/, 'port N' ],
	[ qr/with PID \d+/, 'with PID N' ],
	[ qr{token "[\d/]+"}, 'token "N"' ],
	[ qr/tuple \(\d+,\d+\)/, 'tuple (N,N)' ],
	[ qr/Time: \d+\.\d+ ms( \([0-9:.]+\))?/, 'Time: N ms' ],
	[ qr/\(cost=[^)]*\)/, '(cost)' ],
	[ qr/[1-9]\d* of them HOT/, 'some of them HOT' ]);

# Returns the blocks of a page, each with its tag, its lines without their
# indentation, where it begins and ends, and the line before it.
sub read_blocks
{
	my ($lines) = @_;
	my @blocks;
	my $block;
	my $item = 0;    # in an item of a list, whose paragraphs are indented

	for my $number (0 .. $#$lines)
	{
		my $line = $lines->[$number];
		my $before = $number ? $lines->[ $number - 1 ] : '';

		if ($block)
		{
			if ($line =~ /^ *$block->{fence} *$/)
			{
				$block->{last} = $number - 1;
				undef $block;
				next;
			}
			$line =~ s/^$block->{indent}//;
			push @{ $block->{lines} }, $line;
		}
		elsif ($line =~ /^( *)(```|~~~) *(.*?) *$/)
		{
			$block = { indent => $1, fence => $2, tag => $3, first => $number + 1, before => $before, lines => [] };
			push @blocks, $block;
		}
		else
		{
			$item = $line =~ /^ *([-*]|\d+\.) / if $line =~ /^ {0,3}\S/ && $before eq '';
			push @blocks, { tag => '', first => $number + 1, last => $number, before => '', lines => [$line] }
			  if !$item && $before eq '' && $line =~ /^(    |\t)/;
		}
	}
	return @blocks;
}

# What is compared of an output
sub masked
{
	my $text = join "\n", @_;

	$text =~ s/$_->[0]/$_->[1]/g for @masks;
	# a column is as wide as what stood in it
	$text =~ s/ +/ /g;
	$text =~ s/-{3,}/---/g;
	return $text;
}

# Writes what was printed in place of what a page has.
sub write_page
{
	my ($file, $lines, @blocks) = @_;

	for my $block (reverse grep { $_->{printed} } @blocks)
	{
		splice @$lines, $block->{first}, $block->{last} - $block->{first} + 1,
		  map { $_ eq '' ? '' : $block->{indent} . $_ } @{ $block->{printed} };
	}
	open my $out, '>', $file or die "$file: $!";
	print $out map { "$_\n" } @$lines;
	close $out or die "$file: $!";
	return;
}

1;
