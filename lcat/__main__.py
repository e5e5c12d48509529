"""``python -m lcat`` is the command ``lcat``."""

from lcat.cli import main

if __name__ == "__main__":  # workers of a study import this file again
    main()
