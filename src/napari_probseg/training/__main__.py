"""Train a general network where little is installed: ``python -m napari_probseg.training FOLDER --minutes 10``.

The folder holds the crops that ``napari-probseg train pack`` has written, for ``--volumes`` those of ``pack3d``; beside
this package, torch, NumPy, SciPy, scikit-image, safetensors and Pillow are needed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from napari_probseg.training.general import POOL, ShareOfTime, train_general
from napari_probseg.training.recipe import RECIPES


def main() -> None:
    """Train, telling now and then where it stands."""
    parser = argparse.ArgumentParser(prog="python -m napari_probseg.training", description=__doc__)
    parser.add_argument("folder", type=Path, help=f"with {POOL}; the weights and checkpoints go there")
    parser.add_argument("--volumes", action="store_true", help="train the network of volumes, not that of images")
    parser.add_argument("--minutes", type=float, help="as for the shipped weights if absent")
    parser.add_argument("--batch", type=int, help="crops in a step; 256 on a GPU")
    parser.add_argument("--rate", type=float, help="the learning rate")
    parser.add_argument("--without", action="append", default=[], metavar="SET", help="a data set that is left out")
    parser.add_argument("--start", type=Path, help="weights to start from; those in FOLDER if absent")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if not (chosen.folder / POOL).is_file():
        pack = "pack3d" if chosen.volumes else "pack"
        parser.error(f"{chosen.folder} holds no {POOL}: write it with napari-probseg train {pack} {chosen.folder}")
    ndim = 3 if chosen.volumes else 2
    recipe = RECIPES[ndim]
    rate = chosen.rate or recipe.fit.learning_rate
    fit_config = recipe.lasting(minutes=chosen.minutes, learning_rate=rate, seed=chosen.seed)
    config = replace(recipe.training, n_batch=chosen.batch or recipe.training.n_batch)
    share = ShareOfTime()
    for progress in train_general(
        chosen.folder,
        ndim=ndim,
        without=chosen.without,
        fit_config=fit_config,
        config=config,
        start=chosen.start,
        device=chosen.device,
    ):
        share.add(progress)
        if progress.step % 50 == 0 or progress.validation:
            figures = progress.losses | progress.validation
            told = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
            print(f"{progress.step}/{progress.n_steps}  {share.seconds:.0f} s  {told}", flush=True)  # noqa: T201
    print(share, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
