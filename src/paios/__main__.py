"""`python -m paios` and the commands `ai` and `paios`."""

from __future__ import annotations

import sys


def main() -> None:
    from paios.interfaces.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
