"""Commands on images and folders of them: demo, propose, complete, more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_probseg.cli.options import Device, Resample, Seed, refuse_unused


def demo(
    image: Annotated[Path | None, typer.Argument(help="An image or volume; a micrograph if absent.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write a picture here instead of opening a window.")] = None,
    device: Device = "auto",
) -> None:
    """Show strokes and the candidates that they lead to: in napari, or as a picture where there is no display."""
    from napari_probseg.cli.demo import example, has_display, open_example
    from napari_probseg.io.plain import refuse_picture, write_picture
    from napari_probseg.proposers import load_proposer
    from napari_probseg.rendering import picture as draw

    if picture is not None:
        refuse_picture(picture, made_from=[image])
    shown = example(image)
    proposer = load_proposer(device=device)
    if picture is None and has_display() and _has_napari():
        import napari

        open_example(shown, proposer)
        napari.run()
        return
    candidates = proposer.propose(shown.case, 8, plane=shown.plane)
    path = picture or Path("napari-probseg-demo.png")
    write_picture(path, draw(shown.name, candidates))
    typer.echo(f"{len(candidates)} candidates for {shown.name}; see {path.resolve()}")


def propose(
    image: Annotated[Path, typer.Argument(help="The image or volume.")],
    out: Annotated[Path, typer.Argument(help="Where the candidates go: OUT_1.EXT, OUT_2.EXT, ...")],
    inside: Annotated[Path | None, typer.Option(help="A mask of strokes inside the object.")] = None,
    outside: Annotated[Path | None, typer.Option(help="A mask of strokes outside of it.")] = None,
    n: Annotated[int, typer.Option("-n", help="How many candidates.")] = 8,
    plane: Annotated[tuple[int, int] | None, typer.Option(help="Axis and index of a volume's plane.")] = None,
    volume: Annotated[bool, typer.Option("--volume", help="Continue the object in 3-D, not on one plane.")] = False,
    reach: Annotated[float, typer.Option(help="How far to grow, in (0, 1].")] = 1.0,
    resample: Resample = False,
    weights: Annotated[str, typer.Option(help="Shipped weights by name, or a weights file.")] = "general",
    picture: Annotated[Path | None, typer.Option(help="Write a picture of the candidates, too.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Write candidates for strokes: 0 unknown, 1 object, 2 background."""
    from napari_probseg.io import read, refuse_output, write
    from napari_probseg.io.labels import read_mask
    from napari_probseg.io.plain import refuse_picture, write_picture
    from napari_probseg.proposers import load_proposer
    from napari_probseg.rendering import picture as draw

    source = read(image)
    ending = "".join(out.suffixes[-2:]) if out.name.lower().endswith(".nii.gz") else out.suffix
    paths = [_numbered(out, ending, i + 1) for i in range(n)]
    refuse_output(out)
    for path in paths:
        refuse_output(path, made_from=(image, inside, outside), like=source)
    if picture is not None:
        refuse_picture(picture, made_from=(image, inside, outside))
        if os.path.realpath(picture) in map(os.path.realpath, paths):
            raise ValueError(f"{picture} is where a candidate goes, and would be replaced: choose another name")
    masks = [
        None if path is None else read_mask(path, source, of=image, resample=resample) for path in (inside, outside)
    ]
    case = source.case().mark(*masks)
    proposer = load_proposer(weights, device=device)
    options: dict[str, Any] = ({"reach": reach} if reach != 1 else {}) | ({"ndim": 3} if volume else {})
    candidates = proposer.propose(case, n, seed=seed, plane=plane, **options)
    for i, (path, partial) in enumerate(zip(paths, candidates.partial, strict=False)):
        write(path, partial, like=source)
        added, background = candidates.added(i)
        share = round(100 * float(candidates.share[i]))
        typer.echo(f"{path}: +{added} object, +{background} background, {share} % of the samples")
    if not len(candidates):
        typer.echo(candidates)
    for path in paths[len(candidates) :]:  # of an earlier run that found more
        if path.is_file():
            path.unlink()
            typer.echo(f"{path}: removed, it was of an earlier run")
    if (further := _numbered(out, ending, n + 1)).exists():
        typer.echo(f"{further} is not of this run, which was to write {n} at most", err=True)
    if picture is not None:
        write_picture(picture, draw(image.name, candidates))


def complete(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(help="The image or volume, or a folder of them.")],
    out: Annotated[Path, typer.Argument(help="Where the mask of the object goes; a folder for a folder.")],
    inside: Annotated[
        Path | None,
        typer.Option(help="A mask of strokes inside the object; or a folder of masks, named as the images."),
    ] = None,
    outside: Annotated[Path | None, typer.Option(help="A mask of strokes outside of it; or a folder.")] = None,
    resample: Resample = False,
    plane: Annotated[tuple[int, int] | None, typer.Option(help="Axis and index of a plane; else the volume.")] = None,
    smoothness: Annotated[float, typer.Option(help="Of the border; 0 takes what is likelier, voxel by voxel.")] = 1.0,
    edges: Annotated[float, typer.Option(help="An edge's difference of intensity, over the image's noise.")] = 2.0,
    weights: Annotated[
        str, typer.Option(help="general; appearance, intensities: no network; or a weights file.")
    ] = "general",
    label: Annotated[str | None, typer.Option(help="Of a U-Net that knows several: which one.")] = None,
    device: Device = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Of a folder: processes on this machine; 0 is this one.")] = 0,
    scheduler: Annotated[
        str | None, typer.Option(help="Of a folder: the address of a dask cluster's scheduler.")
    ] = None,
) -> None:
    """Write the mask of the whole object that strokes mean: 1 object, 0 background.

    Of a folder, each image is completed whose mask is not there yet; what cannot be is named at the end.
    """
    from napari_probseg import batch
    from napari_probseg.io.paths import why_no_folder
    from napari_probseg.progress import counted, report_of

    config = batch.BatchConfig(weights, device, smoothness, edges, plane, label, resample)
    if why_no_folder(image):
        refuse_unused(context, "one image", "workers", "scheduler")
        n = batch.complete_file(batch.Job(image, inside, outside, out), config)
        typer.echo(f"{out}: {counted(n, 'voxel')}")
        return
    jobs = batch.jobs_of(image, out, inside=inside, outside=outside)
    with batch.cluster(n_workers=workers, scheduler=scheduler) as client:
        for line in report_of(batch.complete_all(jobs, config, client=client), len(jobs)):
            typer.echo(line)


def more(
    image: Annotated[Path, typer.Argument(help="The image or volume, or a folder of them.")],
    labels: Annotated[
        Path, typer.Option(help="Its first objects, each with a number; or a folder of such, named as the images.")
    ],
    out: Annotated[Path, typer.Option(help="Where all objects go; a folder for a folder.")],
    line: Annotated[
        float | None, typer.Option(help="How likely an object must be to be taken, in [0, 1]; as the window if absent.")
    ] = None,
    resample: Resample = False,
    weights: Annotated[str, typer.Option(help="general; or a weights file.")] = "general",
    device: Device = "auto",
) -> None:
    """Find the other objects that are like the first ones, and write all of them.

    Of a folder, images without labels go by those that have some; what is done already is left, and what cannot be is
    named at the end.
    """
    from napari_probseg import more as files
    from napari_probseg.cli.progress import shown
    from napari_probseg.io.paths import why_no_folder
    from napari_probseg.progress import report_of
    from napari_probseg.similar.offer import DEFAULT_LINE

    config = files.MoreConfig(DEFAULT_LINE if line is None else line, weights, device, resample)
    if why_no_folder(image):
        found = shown(files.finding_more(files.MoreJob(image, labels, out), config))
        typer.echo(f"{out}: {found}")
        return
    jobs = files.more_jobs(image, labels, out)
    for told in report_of(files.more_all(jobs, config), len(jobs)):
        typer.echo(told)


def _numbered(out: Path, ending: str, number: int) -> Path:
    """Return the file of a candidate."""
    return out.with_name(f"{out.name.removesuffix(ending)}_{number}{ending}")


def _has_napari() -> bool:
    from importlib.util import find_spec

    return find_spec("napari") is not None
