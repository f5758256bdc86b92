"""The compression dictionary of the store (docs/decisions/0021).

decode             prints a stored value, given as base64 on standard input
build FILE...      prints a new dictionary made from sample JSON documents
"""

import base64
import collections
import pathlib
import re
import sys
import zlib

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "shared/platform/src/store/compression"
MAX_BYTES = 6 * 1024


def decode(text):
    value = base64.b64decode(text)
    dictionary = (FOLDER / f"dictionary_{value[0]}.txt").read_bytes()
    inflater = zlib.decompressobj(wbits=-15, zdict=dictionary)
    return inflater.decompress(value[1:]) + inflater.flush()


def build(documents):
    """Members and strings that occur in several documents; the most frequent last, where DEFLATE
    encodes the distance in the fewest bits."""
    counts = collections.Counter()
    for document in documents:
        counts.update(set(re.findall(r'"[^"\\]{2,60}":(?:"[^"\\]{0,40}"|true|false|null|0)?,?', document)))
    common = [piece for piece, count in counts.most_common() if count > 1]
    size, chosen = 0, []
    for piece in common:
        size += len(piece.encode())
        if size > MAX_BYTES:
            break
        chosen.append(piece)
    return "".join(reversed(chosen)).encode()


def main(arguments):
    match arguments:
        case ["decode"]:
            sys.stdout.buffer.write(decode(sys.stdin.read()))
        case ["build", *files] if files:
            sys.stdout.buffer.write(build([pathlib.Path(file).read_text() for file in files]))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
