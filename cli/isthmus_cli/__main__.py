"""`python -m isthmus_cli` is `isthmus`."""

import sys

from isthmus_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
