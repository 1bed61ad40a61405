"""``python -m fal_mock``: the program, with the same arguments."""

from __future__ import annotations

import os
import subprocess
import sys

from fal_mock import binary


def main() -> int:
    program = binary()
    if program is None:
        print("fal-mock: this installation carries no program: install the wheel for this platform", file=sys.stderr)
        return 2
    command = [str(program), *sys.argv[1:]]
    if sys.platform == "win32":
        # There exec would return to the shell at once.
        return subprocess.run(command).returncode
    os.execv(program, command)


if __name__ == "__main__":
    sys.exit(main())
