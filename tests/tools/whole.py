# SPDX-License-Identifier: Apache-2.0
"""Vectors whose bytes tell who they are: any mix of two of them, or of one and its id, is found out.

A vector is a row of 32-bit words: owner, version, patch, and then words that follow from owner and version.
`patch` can be changed by itself: it stands for a partial write, at PATCH_AT.
"""
import struct

PATCH_AT = 8
_words = {}


def make(owner, version, patch, dim):
    """The vector of `dim` words."""
    seed = (owner * 2654435761 + version * 2246822519) & 0xffffffff
    # Words that differ at each place, so that no part can come from another place or version unseen.
    key = (seed & 0xffff, dim)
    rest = _words.get(key)
    if rest is None:
        rest = struct.pack(f'<{dim - 4}I', *((key[0] * 40503 + i * 2654435761) & 0xffffffff for i in range(dim - 4)))
        if len(_words) < 4096:
            _words[key] = rest
    return struct.pack('<4I', owner, version, patch, seed) + rest


def parse(data, dim):
    """(owner, version, patch), or None if it is not one whole vector."""
    if len(data) != 4 * dim:
        return None
    owner, version, patch, _ = struct.unpack_from('<4I', data)
    return (owner, version, patch) if data == make(owner, version, patch, dim) else None
