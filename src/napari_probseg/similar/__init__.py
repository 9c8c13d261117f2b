"""More like this: from finished objects of an image to others like them, found, completed and ranked."""

from napari_probseg.region import Part
from napari_probseg.similar.examples import Query
from napari_probseg.similar.offer import Similar, SimilarObject

__all__ = ["Part", "Query", "Similar", "SimilarObject"]
