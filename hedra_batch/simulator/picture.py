"""H.264 key frames of one colour, written without an encoder.

The first macroblock carries the colour as raw samples (I_PCM); every other one predicts it from its neighbours
(intra 16x16, DC, no residual), which takes a single byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Constrained baseline at level 4.0, which is enough for 1920x1080.
PROFILE = bytes([66, 0b1100_0000, 40])

_MACROBLOCK_PIXELS = 16

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """A still of one colour (Y, Cb, Cr), as the NAL units that a decoder takes."""

    width: int
    height: int
    colour: Colour

    @property
    def columns(self) -> int:
        """Macroblocks from left to right."""
        return -(-self.width // _MACROBLOCK_PIXELS)

    @property
    def rows(self) -> int:
        """Macroblocks from top to bottom."""
        return -(-self.height // _MACROBLOCK_PIXELS)

    def sequence_parameters(self) -> bytes:
        """Say how large the picture is, and how much of the last macroblocks is cut off."""
        # Id 0, frame numbers of 4 bits, shown in the order of decoding, one reference frame without gaps.
        head = _ue(0) + _ue(0) + _ue(2) + _ue(1) + "0"
        # Whole frames, 8x8 inference, cropping in units of two pixels.
        right = (self.columns * _MACROBLOCK_PIXELS - self.width) // 2
        bottom = (self.rows * _MACROBLOCK_PIXELS - self.height) // 2
        crop = _ue(0) + _ue(right) + _ue(0) + _ue(bottom)
        size = _ue(self.columns - 1) + _ue(self.rows - 1) + "111" + crop
        return _nal_unit(0x67, PROFILE + _to_bytes(head + size + "0" + "1"))

    def picture_parameters(self) -> bytes:
        """Say how the frames are coded: CAVLC, one slice group, deblocking controlled in the slice."""
        bits = _ue(0) * 2 + "00" + _ue(0) * 3 + "000" + _ue(0) * 3 + "100"
        return _nal_unit(0x68, _to_bytes(bits + "1"))

    def key_frame(self, number: int) -> bytes:
        """Write the whole picture; neighbouring key frames must differ in their number."""
        # First macroblock 0, all slices intra, parameters 0, frame 0; no marks, no change of quality, no deblocking.
        head = _ue(0) + _ue(7) + _ue(0) + "0000" + _ue(number) + "00" + _ue(0) + _ue(1)
        raw = bytes([self.colour[0]] * 256 + [self.colour[1]] * 64 + [self.colour[2]] * 64)
        # Raw samples begin at a whole byte; nothing else is aligned until the stop bit.
        return _nal_unit(0x65, _to_bytes(head + _ue(25)) + raw + _to_bytes(self._predicted() + "1"))

    def _predicted(self) -> str:
        """All macroblocks but the first; the length code of an empty residual depends on the neighbours' lengths."""
        plain = _ue(3) + _ue(0) + _ue(0)
        empty, empty_beside_raw = plain + "1", plain + "000011"
        first_row = [empty_beside_raw] + [empty] * (self.columns - 2)
        second_row = [empty_beside_raw] + [empty] * (self.columns - 1)
        rest = [empty] * (self.columns * (self.rows - 2))
        return "".join(first_row[: self.columns - 1] + second_row[: self.columns * (self.rows - 1)] + rest)


def _ue(value: int) -> str:
    """Write an unsigned Exp-Golomb code, as text of 0 and 1."""
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def _to_bytes(bits: str) -> bytes:
    """Fill up with zeros to whole bytes."""
    padded = bits + "0" * (-len(bits) % 8)
    return int(padded, 2).to_bytes(len(padded) // 8, "big")


def _nal_unit(header: int, payload: bytes) -> bytes:
    """Break up what would read as a start code."""
    return bytes([header]) + re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", payload)
