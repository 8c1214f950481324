# SPDX-License-Identifier: Apache-2.0
# Prints the float32 values of a vector, one a line.
use strict;
use warnings;
open my $file, '<:raw', $ARGV[0] or die;
local $/;
printf "%.3f\n", $_ for unpack 'f<*', <$file>;
