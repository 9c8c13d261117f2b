"""Readers: napari opens NIfTI files with this plugin without asking, where no other plugin can."""

from __future__ import annotations

from fnmatch import fnmatch

from napari.settings import get_settings
from npe2 import PluginManager

OWN_READER, NAPARI = "napari-probseg", "napari"  # as napari calls them
_PATTERNS = ("*.nii", "*.nii.gz")


def prefer_for_nifti() -> None:
    """Let napari choose this plugin for NIfTI files, where the user has chosen none and only napari's own is beside it.

    That one claims these files, too, and cannot read them without ITK, nor tell their distances with it: napari would
    ask which to take, each time. The choice is one of those in *Preferences > Plugins*.
    """
    plugins = get_settings().plugins
    chosen = dict(plugins.extension2reader)
    wanted = {pattern: OWN_READER for pattern in _PATTERNS if not _is_chosen(chosen, pattern) and _is_ours(pattern)}
    if wanted:
        plugins.extension2reader = {**chosen, **wanted}


def _is_chosen(chosen: dict[str, str], pattern: str) -> bool:
    return any(fnmatch(pattern.replace("*", "image"), other) for other in chosen)


def _is_ours(pattern: str) -> bool:
    """Return whether only this plugin and napari's own reader claim files of a pattern."""
    name = pattern.replace("*", "image")
    return {reader.plugin_name for reader in PluginManager.instance().iter_compatible_readers([name])} in (
        {OWN_READER},
        {OWN_READER, NAPARI},
    )
