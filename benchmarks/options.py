"""What benchmarks on data sets are told on the command line."""

from __future__ import annotations

import argparse
import os


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """Return what reads the options of a benchmark, among them the folder of data sets."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    given = os.environ.get("PROBSEG_DATA")
    parser.add_argument(
        "--data", default=given, required=not given, help="folder of nnU-Net v2 raw data sets; PROBSEG_DATA if absent"
    )
    return parser


def parser_of_sets(about: str | None) -> argparse.ArgumentParser:
    """Return what reads, too, which parts of which sets are asked about, and by which network of images."""
    parser = parser_of(about)
    parser.add_argument("--sets", nargs="+", required=True, help="their names")
    parser.add_argument("--part", default="test", choices=["training", "test"])
    parser.add_argument("--weights", default="general", help="of images; the shipped ones if absent")
    return parser
