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
