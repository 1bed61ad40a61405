"""The mock server of fal.ai, ``fal-mock``, as a package: the program, and helpers for tests in ``fal_mock.testing``."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import Optional

__all__ = ["binary"]


def binary() -> Optional[Path]:
    """The program that this package carries, or ``None`` if it carries none.

    ``pip`` puts it among the scripts: of the environment, of the user (``--user``), or of a ``--target`` folder.
    """
    name = "fal-mock" + (sysconfig.get_config_var("EXE") or "")
    folders = [sysconfig.get_path("scripts")]
    user = "nt_user" if sys.platform == "win32" else "posix_user"
    if user in sysconfig.get_scheme_names():
        folders.append(sysconfig.get_path("scripts", scheme=user))
    folders.append(str(Path(__file__).parent.parent / "bin"))
    found = (Path(folder) / name for folder in folders)
    return next((path for path in found if path.is_file()), None)
