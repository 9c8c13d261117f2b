"""Journal: an append-only file of checksummed records, one for each step; what a crash tears off is cut off."""

from napari_probseg.session.journal.folder import (
    ENDING,
    MAX_AGE_DAYS,
    MAX_BYTES,
    is_in_use,
    journals_in,
    new_path,
    remember,
    remembered,
    tidy,
)
from napari_probseg.session.journal.reader import Kept, Subject, count_objects, read_identity, read_journal
from napari_probseg.session.journal.records import is_journal
from napari_probseg.session.journal.writer import Journal

__all__ = [
    "ENDING",
    "MAX_AGE_DAYS",
    "MAX_BYTES",
    "Journal",
    "Kept",
    "Subject",
    "count_objects",
    "is_in_use",
    "is_journal",
    "journals_in",
    "new_path",
    "read_identity",
    "read_journal",
    "remember",
    "remembered",
    "tidy",
]
