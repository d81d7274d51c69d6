"""Measured speed and memory: `make bench` prints all figures, from one run on one machine."""

from __future__ import annotations

import argparse
import functools

from tests import bench_batch, bench_charts, bench_data

PARTS = ("charts", "batch", "data")
say = functools.partial(print, flush=True)


def main() -> None:
    """Measure what is asked for, by default everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="Repeat it for more.")
    parser.add_argument("--deals", type=int, default=bench_data.SIZES[-1], help="The largest data.")
    parser.add_argument("--reports", type=int, default=250, help="The largest batch.")
    parser.add_argument("--stock", type=int, default=6, help="Reports that the stock tools make.")
    options = parser.parse_args()
    parts = options.only or PARTS
    if "charts" in parts:
        bench_charts.main(say)
    if "batch" in parts:
        bench_batch.main(say, stock=options.stock, largest=options.reports)
    if "data" in parts:
        bench_data.main(say, largest=options.deals)


if __name__ == "__main__":
    main()
