"""Readers: napari opens NIfTI files with this plugin without asking, where no other plugin can."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Any

from napari.settings import get_settings
from npe2 import PluginManager

OWN_READER, NAPARI = "napari-probseg", "napari"  # as napari calls them
_PATTERNS = ("*.nii", "*.nii.gz", "*.NII", "*.NII.GZ")  # napari tells upper case from lower here, but on Windows


def prefer_for_nifti(_: Any = None) -> None:
    """Let napari choose this plugin for NIfTI files, where the user has chosen none and only napari's own is beside it.

    That one claims these files, too, and cannot read them without ITK, nor tell their distances with it: napari would
    ask which to take, each time. The choice is one of those in *Preferences > Plugins*. napari calls this before it
    first uses anything of the plugin: a widget, a file that is read or written, a sample.
    """
    plugins = get_settings().plugins
    chosen = dict(plugins.extension2reader)
    own = {pattern for pattern, reader in chosen.items() if pattern in _PATTERNS and reader == OWN_READER}
    others = {pattern: reader for pattern, reader in chosen.items() if pattern not in own}
    wanted = {
        pattern: OWN_READER
        for pattern in _PATTERNS
        if pattern not in own and not _is_chosen(others, pattern) and _is_ours(pattern)
    }
    if wanted:
        plugins.extension2reader = {**chosen, **wanted}


def _is_chosen(chosen: dict[str, str], pattern: str) -> bool:
    """Return whether the user chose for files of a pattern, in upper case or in lower."""
    return any(fnmatch(pattern.replace("*", "image").lower(), other.lower()) for other in chosen)


def _is_ours(pattern: str) -> bool:
    """Return whether only this plugin and napari's own reader claim files of a pattern."""
    name = pattern.replace("*", "image")
    return {reader.plugin_name for reader in PluginManager.instance().iter_compatible_readers([name])} in (
        {OWN_READER},
        {OWN_READER, NAPARI},
    )
