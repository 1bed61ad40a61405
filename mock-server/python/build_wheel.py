"""The build backend of this package (PEP 517): a wheel with the program that ``FAL_MOCK_BIN`` names.

``cargo xtask dist`` calls it. The wheel is for the platform that the program was built for.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
import sysconfig
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
FILES = ("__init__.py", "__main__.py", "py.typed", "testing.py")


def project() -> dict[str, str]:
    """The fields of ``pyproject.toml`` that have one line: its reader came with Python 3.11 only."""
    text = (HERE / "pyproject.toml").read_text(encoding="utf-8")
    return dict(re.findall(r'^([a-z-]+) = "(.*)"$', text, re.MULTILINE))


def metadata() -> str:
    fields = project()
    head = {
        "Metadata-Version": "2.4",
        "Name": fields["name"],
        "Version": fields["version"],
        "Summary": fields["description"],
        "License-Expression": fields["license"],
        "Requires-Python": fields["requires-python"],
        "Provides-Extra": "pytest",
        "Requires-Dist": 'pytest>=8; extra == "pytest"',
        "Description-Content-Type": "text/markdown",
    }
    lines = "".join(f"{name}: {value}\n" for name, value in head.items())
    return f"{lines}\n{(HERE / 'README.md').read_text(encoding='utf-8')}"


def platform_of(program: bytes) -> str:
    """The platform tag of a program that was built on a machine of this kind.

    One without a loader is static, and runs with every C library; another needs the newest glibc of its symbols.
    """
    here = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    if not here.startswith("linux_"):
        return here
    machine = here[len("linux_") :]
    if b"/ld-linux" not in program and b"/ld-musl" not in program:
        return f"manylinux_2_17_{machine}.manylinux2014_{machine}.musllinux_1_1_{machine}"
    versions = {(int(major), int(minor)) for major, minor in re.findall(rb"GLIBC_(\d+)\.(\d+)", program)}
    major, minor = max({*versions, (2, 17)})
    return f"manylinux_{major}_{minor}_{machine}"


def get_requires_for_build_wheel(config_settings=None):
    return []


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    named = os.environ.get("FAL_MOCK_BIN")
    if not named or not Path(named).is_file():
        sys.exit("FAL_MOCK_BIN must name the program that the wheel shall carry; `cargo xtask dist` builds both")
    program = Path(named).read_bytes()
    fields = project()
    stem = f"{fields['name'].replace('-', '_')}-{fields['version']}"
    tag = f"py3-none-{platform_of(program)}"
    tags = "".join(f"Tag: py3-none-{platform}\n" for platform in tag[len("py3-none-") :].split("."))
    info = f"{stem}.dist-info"
    ending = ".exe" if os.name == "nt" else ""
    files = {f"fal_mock/{name}": (HERE / "fal_mock" / name).read_bytes() for name in FILES}
    files[f"{stem}.data/scripts/fal-mock{ending}"] = program
    files[f"{info}/METADATA"] = metadata().encode()
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: fal-mock\nRoot-Is-Purelib: false\n{tags}".encode()
    files[f"{info}/entry_points.txt"] = b"[pytest11]\nfal-mock = fal_mock.testing\n"
    record = ""
    name = f"{stem}-{tag}.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(data)}\n"
            add(wheel, path, data, is_program="/scripts/" in path)
        add(wheel, f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode())
    return name


def add(wheel: zipfile.ZipFile, path: str, data: bytes, is_program: bool = False) -> None:
    # The same files give the same wheel, whenever it is made.
    entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (0o100755 if is_program else 0o100644) << 16
    wheel.writestr(entry, data)


def build_sdist(sdist_directory, config_settings=None):
    sys.exit("a source archive could not carry the program: `cargo install fal-mock` builds it from source")
