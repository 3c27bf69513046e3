"""Measure stages, or run one of the other benchmarks.

python -m bench --scale pct10 log validation/events
python -m bench covisitation | matrices FOLDER | embeddings FOLDER
python -m bench features FOLDER | features generated [VARIANT…]
python -m bench rankers FOLDER | candidates FOLDER | shortlist FOLDER | halves FOLDER
python -m bench bars FOLDER | bars generated | ceiling
python -m bench nearest LANE [WAY…]
python -m bench generate | bad_lines | reopen | difficulty | demo | real_logs FOLDER | peers
python -m bench forest
"""

import argparse

from bench import (
    bad_lines,
    bars,
    candidates,
    ceiling,
    covisitation,
    demo,
    difficulty,
    embeddings,
    features,
    forest,
    generate,
    halves,
    harness,
    matrices,
    nearest,
    rankers,
    real_logs,
    reopen,
    shortlist,
)
from bench.peers import compare
from otto_pipeline.settings import SCALES

OTHERS = {
    "generate": generate.main,
    "bad_lines": bad_lines.main,
    "reopen": reopen.main,
    "difficulty": difficulty.main,
    "demo": demo.main,
    "real_logs": real_logs.main,
    "forest": forest.main,
    "covisitation": covisitation.main,
    "matrices": matrices.main,
    "embeddings": embeddings.main,
    "nearest": nearest.main,
    "features": features.main,
    "candidates": candidates.main,
    "shortlist": shortlist.main,
    "rankers": rankers.main,
    "bars": bars.main,
    "ceiling": ceiling.main,
    "halves": halves.main,
    "peers": compare.main,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", choices=SCALES[1:], default="full")
    parser.add_argument("stage", nargs="+", help="an artifact's path, its beginning, or as above")
    options = parser.parse_args()
    name, *arguments = options.stage
    if name in OTHERS:
        OTHERS[name](*arguments)
    else:
        harness.bench(options.stage, options.scale)


if __name__ == "__main__":
    main()
