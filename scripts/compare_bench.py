"""Compare two configurations of `wood bench`, in turns, so that a noisy machine wrongs both.

    python scripts/compare_bench.py 5 -- --serve -m --nodes 2 -- --serve -m
    python scripts/compare_bench.py 9 -- --serve -- @../wood-before --serve
    python scripts/compare_bench.py 9 -- WOOD_MAX_POSITION=1000000 --serve -- --serve

A configuration may begin with @ and the folder of another checkout, which is run then, and with
variables of the environment, which a server that it starts takes as its options. Prints the
median of the messages a second of each, with the least and the most, and of the ratio of the first
to the second, by pairs.
"""

import json
import os
import subprocess
import sys
from itertools import takewhile

from wood.tools.bench.spread import Spread, spread


def main(rounds: int, first: list[str], second: list[str]) -> None:
    pairs = []
    for number in range(rounds):
        if number % 2:
            other = rate(second)
            pairs.append((rate(first), other))
        else:
            pairs.append((rate(first), rate(second)))
    show(" ".join(first), spread((one for one, _ in pairs), 0), ",.0f")
    show(" ".join(second), spread((other for _, other in pairs), 0), ",.0f")
    show("ratio", spread((one / other for one, other in pairs), 3), ".3f")


def rate(options: list[str]) -> float:
    """The messages per second of one run, or the commands if it is one of the script."""
    folder = "."
    if options and options[0].startswith("@"):
        folder, options = options[0][1:], options[1:]
    variables = dict(word.split("=", 1) for word in takewhile(lambda word: "=" in word, options))
    command = [sys.executable, "-m", "wood", "bench", "--json", *options[len(variables) :]]
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, cwd=folder, env=os.environ | variables
    )
    report = json.loads(ended.stdout)
    side = report.get("target", report)
    found = side.get("messages_per_second") or side["commands_per_second"]
    return float(found["median"])


def show(name: str, value: Spread, form: str) -> None:
    print(f"{value.text(form):>35}  {name}")


if __name__ == "__main__":
    try:
        where = sys.argv.index("--", 3)
        if sys.argv[2] != "--":
            raise ValueError
        arguments = int(sys.argv[1]), sys.argv[3:where], sys.argv[where + 1 :]
    except (IndexError, ValueError):
        sys.exit(__doc__)
    main(*arguments)
