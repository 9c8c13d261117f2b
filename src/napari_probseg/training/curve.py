"""Learning curve of a training, as a table and as a picture."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_probseg.io.atomic import write_whole
from napari_probseg.progress import Progress

STEPS_PER_POINT = 10  # that a point of the loss is the mean of
CHART_SIZE, CHART_MARGINS = (720, 420), (58, 34, 58, 44)  # left, top, right, bottom
LOSS, SCORE, INK, GRID, PAPER = (52, 120, 235), (235, 64, 52), (40, 44, 52), (226, 228, 232), (250, 250, 250)

Points = list[tuple[int, float]]


@dataclass
class Curve:
    """Loss and validation score over the steps."""

    loss: Points = field(default_factory=list)
    score: Points = field(default_factory=list)
    _recent: list[float] = field(default_factory=list)

    @classmethod
    def load(cls, path: str | Path) -> Curve:
        """Read the table of an earlier run; an empty curve if there is none."""
        if not Path(path).is_file():
            return cls()
        rows = list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8"))))
        loss, score = (
            [(int(row["step"]), float(row[name])) for row in rows if row[name]] for name in ("loss", "score")
        )
        return cls(loss, score)

    def add(self, progress: Progress) -> None:
        """Take in a step; what is known of this and later steps, from a run that was broken off, is forgotten."""
        self.loss, self.score = ([p for p in points if p[0] < progress.step] for points in (self.loss, self.score))
        self._recent.append(progress.losses["total"])
        if progress.step % STEPS_PER_POINT == 0 or progress.step == progress.n_steps:
            self.loss.append((progress.step, sum(self._recent) / len(self._recent)))
            self._recent = []
        if "score" in progress.validation:
            self.score.append((progress.step, progress.validation["score"]))

    def save(self, folder: str | Path) -> None:
        """Write ``curve.csv`` and ``curve.png``."""
        loss, score = dict(self.loss), dict(self.score)
        rows = [[step, loss.get(step, ""), score.get(step, "")] for step in sorted(loss | score)]
        text, png = io.StringIO(), io.BytesIO()
        csv.writer(text).writerows([["step", "loss", "score"], *rows])
        self.picture().save(png, "PNG")
        write_whole(Path(folder) / "curve.csv", text.getvalue().encode())
        write_whole(Path(folder) / "curve.png", png.getvalue())

    def picture(self) -> Any:
        """Return an RGB picture: the loss on the left axis, the score, from 0 to 1, on the right."""
        from PIL import Image, ImageDraw, ImageFont

        image = Image.new("RGB", CHART_SIZE, PAPER)
        draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
        left, top, right, bottom = (
            CHART_MARGINS[0],
            CHART_MARGINS[1],
            CHART_SIZE[0] - CHART_MARGINS[2],
            CHART_SIZE[1] - CHART_MARGINS[3],
        )
        last = max([step for step, _ in self.loss + self.score], default=1)
        highest = _round_up(max([value for _, value in self.loss], default=1.0))

        def place(step: float, value: float) -> tuple[float, float]:
            return left + (right - left) * step / last, bottom - (bottom - top) * value

        for i in range(5):
            _, y = place(0, i / 4)
            draw.line([(left, y), (right, y)], fill=GRID)
            draw.text((left - 8, y), f"{highest * i / 4:.3g}", fill=LOSS, font=font, anchor="rm")
            draw.text((right + 8, y), f"{i / 4:.2f}", fill=SCORE, font=font, anchor="lm")
            draw.text(
                (place(last * i / 4, 0)[0], bottom + 8), f"{round(last * i / 4)}", fill=INK, font=font, anchor="mt"
            )
        draw.text((left, top - 22), "loss", fill=LOSS, font=font)
        draw.text((right, top - 22), "validation score", fill=SCORE, font=font, anchor="ra")
        draw.text(((left + right) / 2, CHART_SIZE[1] - 6), "step", fill=INK, font=font, anchor="mb")
        draw.line([place(step, value / highest) for step, value in self.loss], fill=LOSS, width=2)
        scores = [place(step, max(0.0, value)) for step, value in self.score]
        draw.line(scores, fill=SCORE, width=2)
        for x, y in scores:
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=SCORE)
        return image


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4 or 8 times a power of ten."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 2, 4, 8, 10) if m * power >= value * (1 - 1e-9))
