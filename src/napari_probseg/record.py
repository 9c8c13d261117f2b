"""Address of `unpack` in the scripts that release 0.1.0 wrote: those that are kept still run."""

from napari_probseg.session.script import unpack as unpack
