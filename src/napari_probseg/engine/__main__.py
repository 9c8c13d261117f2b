"""Worker of an engine; a window starts it."""

from napari_probseg.engine.server import main

if __name__ == "__main__":
    main()
