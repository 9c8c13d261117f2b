"""Tools of the Segment widget: what the user has set, for whichever image is at work."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_probseg.proposers.completion import CutConfig

NETWORK = "general"  # the completer that is the network in use, the shipped one or an adopted one


@dataclass(frozen=True)
class Tools:
    """What the user has set.

    Parameters
    ----------
    brush_size : int
        Diameter, in voxels.
    n : int
        How many candidates to ask for.
    reach : float
        How far they grow, in (0, 1].
    whole_volume : bool
        Whether the whole volume is worked on, not the slice on view.
    completer : str
        `NETWORK`, or what `load_completer` calls another one.
    cut : CutConfig
        How completions are cut out.
    kind : str
        The class of the next objects; none if empty.
    """

    brush_size: int = 10
    n: int = 6
    reach: float = 1.0
    whole_volume: bool = False
    completer: str = NETWORK
    cut: CutConfig = field(default_factory=lambda: CutConfig(everywhere=False))
    kind: str = ""
