"""Further channels: which layers an image is seen together with."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QTimer

from napari_probseg.candidates import Proposer
from napari_probseg.widgets.layers.image import bare, case_of, may_be_channels
from napari_probseg.widgets.segment.stage import Stage
from napari_probseg.widgets.segment.verbs import verb_of_subject
from napari_probseg.widgets.settings import Settings


class FurtherChannels(Stage):
    """What of the workspace lets answers see further channels of the image at work; parameters as for `Showing`."""

    def __init__(self, viewer: Any, proposer: Proposer | None = None, settings: Settings | None = None) -> None:
        super().__init__(viewer, proposer, settings)
        viewer.layers.events.removed.connect(self._note_channel_removed)

    def possible_channels(self) -> list[Image]:
        """Return the layers that can be further channels of the image at work, those that are used first."""
        used = self.images.channels
        others = [layer for layer in self.choices() if layer not in used and layer is not self.image]
        fitting = [layer for layer in others if self.image is not None and may_be_channels(self.image, layer)]
        return [*used, *fitting]  # those that lie elsewhere by now, too

    @verb_of_subject
    def use_channels(self, channels: list[Image]) -> None:
        """Let answers see these further channels from now on; what was done stays."""
        if (image := self.image) is None:
            return
        if (session := self.session) is not None:
            if session.learnt is not None:
                raise RuntimeError("what was learnt is of the channels before: forget it first, in the menu •••")
            self.asking.give_up()
            session.rebase(case_of(image, channels))
        self.images.set_channels(image, channels)
        self._answer_again()
        self._show()
        names = ", ".join(f"“{layer.name}”" for layer in (image, *channels))
        self.say(f"Answers see {names} from now on; strokes and objects stay.")
        if session is None:
            self.recovery.look_again(image, channels)

    def release(self, *args: Any) -> None:
        """Let go of the viewer."""
        self.viewer.layers.events.removed.disconnect(self._note_channel_removed)
        super().release(*args)

    def _note_channel_removed(self, event: Any) -> None:
        if (layer := bare(event.value)) in self.images.channels:
            QTimer.singleShot(0, partial(self._give_up_channel, self.image, layer))  # the image may go, too

    def _give_up_channel(self, image: Image, channel: Image) -> None:
        """Let answers see a channel no longer that was removed from the viewer, where its image was not."""
        channels = self.images.channels
        if image is self.image and channel in channels and channel not in self.viewer.layers:
            self.use_channels([layer for layer in channels if layer is not channel])
