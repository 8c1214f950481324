# SPDX-License-Identifier: Apache-2.0
# Prints the neighbours of a stored vector, as near/ID and as search/query tell them: near.pl COLLECTION ID.
use strict;
use warnings;
use Fcntl;
my ($collection, $id) = @ARGV;

sub print_rest {
	my $file = shift;
	while (sysread $file, my $text, 4096) { print $text }
}
sysopen my $near, "$collection/.vecfs/near/$id", O_RDONLY or die "near/$id: $!";
print_rest $near;
sysopen my $vector, "$collection/$id", O_RDONLY or die "$id: $!";
my $size = sysread $vector, my $bytes, 65536;
sysopen my $query, "$collection/.vecfs/search/query", O_RDWR or die "search/query: $!";
syswrite($query, $bytes) == $size or die "search/query: $!";
print_rest $query;
