"""Takes the measures and writes build/bench.json: `python -m tests.bench [--quick] [NAME…]`.

NAME is a measure or the beginning of some: `rank` takes all of `rank.*`; without one, all are
taken. The file holds what this run took: a list of {"name", "value", "unit", "baseline", "ratio"}.
Value and baseline are in the unit, from turns taken in one run (A B A B …). A ratio above 1 is
better than the baseline, whatever the unit; both are null where there is nothing to compare with.

Exit codes: 0 done, 1 a measure failed (the others are written), 2 no measure has that name.
"""

import argparse
import importlib
import json
import logging
import pkgutil
import sys
import traceback
from pathlib import Path

import structlog

import tests.bench
from tests.bench.harness import MEASURES, Bench, Figure, Measure

OUTPUT = Path(__file__).resolve().parents[2] / "build" / "bench.json"


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Takes the measures."
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds: less time, more noise")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a measure, or the beginning of some"
    )
    options = parser.parse_args()
    for module in pkgutil.iter_modules(tests.bench.__path__):
        if module.name.startswith("bench_"):
            importlib.import_module(f"tests.bench.{module.name}")
    unknown = [n for n in options.names if not any(name.startswith(n) for name in MEASURES)]
    if unknown:
        print(
            f"no measure is called {', '.join(unknown)}; there are:", *sorted(MEASURES), sep="\n  "
        )
        return 2
    chosen = [
        measure
        for name, measure in sorted(MEASURES.items())
        if not options.names or name.startswith(tuple(options.names))
    ]
    # Services that run in this process would write a line for each call between the figures.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    return take(chosen, Bench(quick=options.quick))


def take(measures: list[Measure], bench: Bench) -> int:
    """The exit code, after each measure is printed and all are written."""
    print(
        f"{'measure':<28}{'value':>12}{'baseline':>12} {'unit':<10}{'ratio':>7}  (above 1: better)"
    )
    rows, failed = [], False
    for measure in measures:
        try:
            figure = measure.take(bench)
        except Exception:
            failed = True
            print(f"{measure.name:<28}failed", flush=True)
            traceback.print_exc(file=sys.stderr)
            continue
        print(line(measure, figure), flush=True)
        rows.append(
            {
                "name": measure.name,
                "value": rounded(figure.value),
                "unit": measure.unit,
                "baseline": rounded(figure.baseline),
                "ratio": rounded(figure.ratio),
            }
        )
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(rows, indent=1) + "\n")
    return int(failed)


def line(measure: Measure, figure: Figure) -> str:
    """A line of the table."""
    value, baseline, ratio = (
        "-" if number is None else f"{number:,.{2 if number < 100 else 0}f}"
        for number in (figure.value, figure.baseline, figure.ratio)
    )
    columns = f"{measure.name:<28}{value:>12}{baseline:>12} {measure.unit:<10}{ratio:>7}"
    return f"{columns}  {figure.note}".rstrip()


def rounded(number: float | None) -> float | None:
    """The number to four digits: more would be noise."""
    return None if number is None else float(f"{number:.4g}")


if __name__ == "__main__":
    sys.exit(main())
