# SPDX-License-Identifier: Apache-2.0
# Prints the bytes of a vector's code as numbers, and how many of all codes are the same: codes.pl VIEW ID.
use strict;
use warnings;
my ($view, $id) = @ARGV;

sub slurp {
	open my $file, '<:raw', $_[0] or die "$_[0]: $!";
	local $/;
	return scalar <$file>;
}
my $code = slurp("$view/$id");
print "$_\n" for unpack 'C*', $code;
my $all = substr slurp("$view/.vecfs/codes.npy"), 128;
my $same = grep { $_ eq $code } unpack '(a' . length($code) . ')*', $all;
print "$same\n";
