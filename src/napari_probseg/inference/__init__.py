"""From a case to a network's input and back: windows, scale, diversity of samples, device."""
