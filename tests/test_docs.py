"""The code of the documentation runs, and what a package index shows of the README is found there."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_probseg as ps

REPOSITORY = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(page.relative_to(REPOSITORY)) for page in (REPOSITORY / "docs").rglob("*.md"))]


def code_of(page: str) -> str:
    """Return the Python blocks of a page, one after another; a line that takes in a file is replaced by the file."""
    blocks = re.findall(
        r"^```(?:python| {\.python .*?})\n(.*?)^```", (REPOSITORY / page).read_text(encoding="utf-8"), re.M | re.S
    )
    code = "\n".join(blocks)
    return re.sub(
        r'^--8<-- "(.*)"$', lambda found: (REPOSITORY / found[1]).read_text(encoding="utf-8"), code, flags=re.M
    )


WITH_CODE = [page for page in PAGES if code_of(page)]


def test_there_is_code_to_run() -> None:
    assert {"README.md", "docs/scripts.md", "docs/proposer.md"} <= set(WITH_CODE)


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = re.sub(r"^from __future__ .*$", "", code_of(page), flags=re.M)
    done: dict[str, Any] = {"__name__": "docs"}
    exec(compile(program, page, "exec"), done)
    if page == "README.md":
        assert done["session"].objects.max() == 1
        assert (ps.read("objects.tif").data == done["session"].objects).all()


@pytest.mark.parametrize("page", PAGES)
def test_what_an_excerpt_imports_is_there(page: str) -> None:
    """Excerpts that need data or trained weights cannot run; what they begin with can."""
    for line in re.findall(r"^ {4}((?:from|import) napari_probseg.*)$", (REPOSITORY / page).read_text("utf-8"), re.M):
        exec(line, {})


def test_the_readme_is_whole_where_its_folder_is_not() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    addresses = re.findall(r"\]\(([^)]+)\)|^\[[^\]]+\]: (\S+)$", text, re.M)
    assert addresses
    assert [one for pair in addresses for one in pair if one and not one.startswith("https://")] == []


def test_the_readme_says_of_unseen_kinds_what_was_measured_last() -> None:
    readme, unseen = ((REPOSITORY / page).read_text(encoding="utf-8") for page in ("README.md", "docs/unseen.md"))
    said = re.search(r"([\d.]+) and ([\d.]+) interactions\s+to a Dice of 0.85.*?needs ([\d.]+)", readme, re.DOTALL)
    table = unseen.split("## mean over data sets")[1].split("\n## ")[0]
    header, _, *rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    needed = {row[1]: row[header.index("NoC@0.85")] for row in rows}
    assert said is not None
    assert said.groups() == (needed["complete"], needed["propose"], needed["watershed"])


@pytest.mark.parametrize("page", PAGES)
def test_addresses_of_this_repository_lead_to_files(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    files = re.findall(r"napari-probseg/(?:blob/|tree/)?main/([\w./-]+)", text)
    pages = re.findall(r"github\.io/napari-probseg/(\w+)/", text)
    assert page != "README.md" or (files and pages), "test invalid"
    for path in (*files, *(f"docs/{name}.md" for name in pages)):
        assert (REPOSITORY / path).exists(), path


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md"])
def test_links_of_the_site_lead_to_pages_of_it(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (REPOSITORY / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    links = re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", text, re.M)
    for link in (one for pair in links for one in pair if one and ":" not in one):
        path, _, heading = link.partition("#")
        target = ((REPOSITORY / page).parent / path).resolve() if path else REPOSITORY / page
        assert target.is_relative_to(REPOSITORY / "docs"), f"{link} is not on the site"
        assert target.is_file(), link
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
            named = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}
            assert heading in named, f"{link}: there is no such heading"


def test_every_package_is_on_the_page_of_the_architecture() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in text.splitlines() if line[:2] == "| ")))
    there = {path.stem for path in Path(ps.__file__).parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert {name for name in there if not name.startswith("_")} <= listed
    files = re.findall(r"`((?:io|nn|cli|widgets|tests)/[\w/]+\.py)`", text)
    assert files
    for path in files:
        assert any((folder / path).is_file() for folder in (Path(ps.__file__).parent, REPOSITORY)), path


def test_the_proposer_of_the_documentation_keeps_the_contract() -> None:
    proposer = runpy.run_path(str(REPOSITORY / "examples" / "flood_proposer.py"))["FloodProposer"]()
    y, x = np.mgrid[:80, :90]
    image = (np.hypot(y - 40, x - 40) < 20) * 0.6 + (np.hypot(y - 40, x - 40) < 8) * 0.3
    stack = np.stack([np.zeros_like(image), image + np.random.default_rng(0).normal(0, 0.02, image.shape)])
    case = ps.Case(stack)
    with pytest.raises(ValueError, match="no stroke inside"):
        proposer.propose(case)
    inside, outside = np.zeros((2, *stack.shape), dtype=bool)
    inside[1, 39:42, 39:42], outside[1, 70:75, 70:75] = True, True
    case = case.mark(inside, outside)
    first, second = (proposer.propose(case, 6, seed=3) for _ in range(2))
    assert np.array_equal(first.patches, second.patches)
    assert 2 <= len(first) <= 6
    assert len({patch.tobytes() for patch in first.patches}) == len(first)
    for i, partial in enumerate(first.partial):
        assert not partial[0].any(), "the other slice is untouched"
        assert (partial[case.strokes > 0] == case.strokes[case.strokes > 0]).all()
        assert first.added(i)[0] > 0
    disk = np.hypot(y - 40, x - 40) < 20
    overlaps = [2 * (p[1][disk] == 1).sum() / ((p[1] == 1).sum() + disk.sum()) for p in first.partial]
    assert max(overlaps) > 0.95


CARDS = sorted(str(card.relative_to(REPOSITORY)) for card in (REPOSITORY / "src").rglob("weights/*.md"))


def commands_of(page: str) -> list[tuple[str, bool]]:
    """Return what a page says to run, with what may be left out; and whether it is a line of its own, so all of it."""
    text = re.sub(r"\\\n\s*", "", (REPOSITORY / page).read_text(encoding="utf-8"))
    lines = [(line, True) for line in re.findall(r"^ {4}((?:napari-probseg|python) .*)$", text, re.M)]
    named = [(line, False) for line in re.findall(r"`((?:napari-probseg|python) .*?)`", text)]
    return [(re.sub(r"\$\(.*?\)|\$\w+|\s#\s.*$| \| \w+|[\[\]]", "", line), whole) for line, whole in [*lines, *named]]


@pytest.mark.parametrize("page", [*PAGES, *CARDS])
def test_the_commands_of_a_page_are_understood(page: str) -> None:
    """None is run: the command line knows their names and options, and of programs of ours there is the file."""
    import typer

    from napari_probseg.cli.main import app

    for line, is_whole in commands_of(page):
        program, *given = shlex.split(line)
        if program == "python":
            assert all((REPOSITORY / word).is_file() for word in given if word.endswith(".py")), line
            continue
        command: Any = typer.main.get_command(app)
        while given and (below := getattr(command, "commands", {})) and given[0] != "--help":
            assert given[0] in below, line
            command = below[given.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        assert {word for word in given if re.match("--?[a-z]", word)} <= options, line
        if is_whole:
            command.make_context(command.name, given)


def test_a_command_that_is_not_understood_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for line in ("napari-probseg mor IMAGE", "napari-probseg more IMAGE --lable A --out B", "python benchmarks/no.py"):
        monkeypatch.setattr(__import__(__name__), "commands_of", lambda page, line=line: [(line, True)])
        with pytest.raises(AssertionError):
            test_the_commands_of_a_page_are_understood("README.md")
