"""How long napari's window stands still while the Segment widget works, and what opening the widget imports.

    xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/event_loop.py

A loop that does nothing but let Qt work notes the time between two turns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import napari
from qtpy.QtWidgets import QApplication
from skimage.data import cell

from napari_probseg.widgets.segment.widget import SegmentWidget


def longest_block(done: Callable[[], bool], at_least: float = 0.3) -> tuple[float, float]:
    """Let the window live until ``done``; return the seconds that took and the longest time between two turns."""
    begin = last = time.perf_counter()
    longest = 0.0
    while not done() or last - begin < at_least:
        QApplication.processEvents()
        time.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return last - begin, longest


def main() -> None:
    viewer = napari.Viewer()
    viewer.add_image(cell(), name="cell")
    widget = SegmentWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment")
    work, panel = widget.work, widget.panel
    longest_block(lambda: True, 1.0)
    print(f"torch imported by opening the widget: {'torch' in sys.modules}")
    panel.inside.click()
    _, longest = longest_block(lambda: "napari_probseg.proposers.cvae" in sys.modules, 4.0)
    print(f"torch and the weights loaded in a thread while brushing: window still for at most {1000 * longest:.0f} ms")
    work.layers.markers.paint((385, 430), 1)
    panel.outside.click()
    work.layers.markers.paint((200, 300), 2)
    longest_block(lambda: True, 1.0)
    for name in ("first proposal", "second proposal", "third proposal"):
        panel.propose.click()
        took, longest = longest_block(lambda: not work.asking.is_busy)
        print(f"{name}: {took:.2f} s, window still for at most {1000 * longest:.0f} ms ({panel.status.text()})")
    for name in ("first completion", "second completion"):
        panel.complete.click()
        took, longest = longest_block(lambda: not work.asking.is_busy)
        print(f"{name}: {took:.2f} s, window still for at most {1000 * longest:.0f} ms ({panel.status.text()})")
    for slider, step in ((panel.smoothness, 3), (panel.smoothness, 12), (panel.edges, 4), (panel.edges, 16)):
        before = work.on_offer
        slider.setValue(step)
        took, longest = longest_block(lambda b=before: work.on_offer is not b, 0.0)
        print(f"{work.tools.cut}: {1000 * took:.0f} ms, window still for at most {1000 * longest:.0f} ms")
    viewer.close()


if __name__ == "__main__":
    main()
