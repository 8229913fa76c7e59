"""`python -m physgan`: the same as the command `physgan`."""

import sys

from physgan.cli import main

if __name__ == "__main__":
    sys.exit(main())
