"""Checks that every package this one is built from may be used under a licence of the list below.

Reads `cargo metadata` for the crate (all features, development included) and for the packages beside it. A licence is an SPDX
expression: `A OR B` needs one of both allowed, `A AND B` needs both. The old form `A/B` means `A OR B`.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

ALLOWED = {
    "0BSD",
    "BSL-1.0",
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unlicense",
    "Zlib",
    "Unicode-3.0",
}
# libFuzzer itself, which no user of the crate ever gets.
ALLOWED_IN_FUZZING = ALLOWED | {"NCSA"}


def holds(expression, allowed):
    """Whether an SPDX expression can be met with the allowed licences alone."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    at = 0

    def peek():
        return tokens[at] if at < len(tokens) else None

    def take():
        nonlocal at
        if at == len(tokens):
            raise ValueError(f"licence ends too early: {expression!r}")
        at += 1
        return tokens[at - 1]

    def single():
        token = take()
        if token == "(":
            inner = either()
            if take() != ")":
                raise ValueError(f"bracket left open: {expression!r}")
            return inner
        name = f"{token} WITH {(take(), take())[1]}" if peek() == "WITH" else token
        return name in allowed

    def both():
        result = single()
        while peek() == "AND":
            take()
            # Taken apart from the `and`: the right side must be read even where the left side has decided.
            right = single()
            result = result and right
        return result

    def either():
        result = both()
        while peek() == "OR":
            take()
            right = both()
            result = result or right
        return result

    result = either()
    if at != len(tokens):
        raise ValueError(f"cannot read the licence {expression!r}")
    return result


def packages(manifest):
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features", "--manifest-path", str(manifest)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)["packages"]


def check_self():
    """A checker that says yes to everything would not be noticed."""
    cases = {
        "MIT": True,
        "MIT OR GPL-3.0": True,
        "GPL-3.0": False,
        "MIT AND GPL-3.0": False,
        "(MIT OR Apache-2.0) AND Unicode-3.0": True,
        "(MIT OR Apache-2.0) AND NCSA": False,
        "Apache-2.0 WITH LLVM-exception OR LGPL-2.1-or-later": True,
        "GPL-2.0 WITH Classpath-exception-2.0": False,
        "Unlicense/MIT": True,
    }
    for expression, expected in cases.items():
        assert holds(expression, ALLOWED) == expected, expression


def main():
    check_self()
    refused = []
    beside = [ROOT / path / "Cargo.toml" for path in ("tests/loom", "tests/shuttle", "benches/peers", "fuzz")]
    for manifest in (ROOT / "Cargo.toml", *beside):
        allowed = ALLOWED_IN_FUZZING if manifest.parent.name == "fuzz" else ALLOWED
        found = packages(manifest)
        print(f"{manifest.relative_to(ROOT)}: {len(found)} packages")
        for package in found:
            licence = package["license"]
            if licence is None or not holds(licence, allowed):
                refused.append(f"{package['name']} {package['version']}: {licence or 'no licence given'}")
    for line in sorted(set(refused)):
        print(f"not allowed: {line}", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
