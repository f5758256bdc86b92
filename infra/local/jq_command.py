"""`jq` for the tests of the guides, with the library of jq, so that no machine has to have the program.

Options: -r, -c and -e. Then a filter, and a file or standard input.
"""

import json
import sys

import jq


def main(arguments):
    options = {letter for one in arguments if one.startswith("-") and len(one) > 1 for letter in one[1:]}
    program, *files = [one for one in arguments if not one.startswith("-") or len(one) == 1]
    if options - set("rce"):
        sys.exit(f"jq: unknown options {sorted(options)}")
    text = open(files[0]).read() if files else sys.stdin.read()
    value = None
    for value in jq.compile(program).input_text(text):
        if "r" in options and isinstance(value, str):
            print(value)
        elif "c" in options:
            print(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
        else:
            print(json.dumps(value, ensure_ascii=False, indent=2))
    if "e" in options and value in (None, False):
        sys.exit(1)


main(sys.argv[1:])
