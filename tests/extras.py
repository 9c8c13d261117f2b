"""Marks of tests that need what only an extra installs."""

from importlib.util import find_spec

import pytest

NEEDS_MONAI = pytest.mark.skipif(find_spec("monai") is None, reason="MONAI, of the extra 'train', is not installed")
