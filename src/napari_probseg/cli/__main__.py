"""The command line, started with ``python -m napari_probseg.cli``."""

from napari_probseg.cli.main import main

if __name__ == "__main__":
    main()
