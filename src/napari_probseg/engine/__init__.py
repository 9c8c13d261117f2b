"""Engine: answers requests in a process of its own, so that a window never waits and never imports torch."""
