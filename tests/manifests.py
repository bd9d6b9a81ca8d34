"""Manifests for tests: written into a folder, loaded, or refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from hedra_batch.errors import InputFileError, ManifestError
from hedra_batch.inputs import Inputs
from hedra_batch.manifest.loading import Manifest, load_manifest


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def make_png(width: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"pixels") + chunk(b"IEND")


PNG = make_png()
JPEG = (
    b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, 8, 8, 1) + b"\1\x11\0"
    b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 63, 0) + b"data\xff\0more\xff\xd0rest\xff\xd9"
)
GIF = b"GIF89a" + struct.pack("<HH", 8, 8) + b"\0\0\0,\0\0\0\0\x08\0\x08\0\0\x02\x02\x4c\x01\0;"
WEBP = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\7\0\0\7\0\0"


def load(folder: Path, body: str, *, edition: str = "", name: str = "spring.yaml") -> Manifest:
    path = folder / name
    path.write_text(f"version: 1\n{body}", "utf-8")
    return load_manifest(path, edition=edition)


def faults(folder: Path, body: str, *, edition: str = "") -> list[str]:
    """Every fault of a manifest, without the folder in front; the body begins on line 2."""
    path = folder / "m.yaml"
    path.write_text(f"version: 1\n{body}", "utf-8")
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, edition=edition)
    return [line.removeprefix(f"{folder}/") for line in caught.value.problems]


def file_faults(folder: Path, body: str) -> list[str]:
    """Every fault of the files of a manifest; the body begins on line 2."""
    path = folder / "m.yaml"
    path.write_text(f"version: 1\ndefaults: {{prompt: P}}\n{body}", "utf-8")
    with pytest.raises(InputFileError) as caught:
        load_manifest(path)
    return [line.removeprefix(f"{folder}/") for line in caught.value.problems]


def add_file(folder: Path, name: str, data: bytes = PNG) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def add_image(folder: Path, name: str, width: int = 8) -> bytes:
    data = make_png(width)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


def ids(manifest: Manifest) -> list[str]:
    return [job.id for job in manifest.jobs]


def inputs_of(manifest: Manifest) -> list[Inputs]:
    return [job.inputs for job in manifest.jobs]
