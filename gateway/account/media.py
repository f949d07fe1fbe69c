"""How many tokens an image, a recording or a document counts as, by the rules that providers state for their own.

Sizes are read from the first bytes of what was sent with the request; nothing is fetched.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Mapping
from typing import Any

# An image of unknown size: as one of 1024 × 1024, four tiles.
IMAGE = 765
_IMAGE_BASE, _TILE_TOKENS, _TILE = 85, 170, 512
_HEADER = 16_384  # characters of base64 that a size is looked for in
_AUDIO_PER_SECOND = 32
_COMPRESSED_BYTES_PER_SECOND = 8_000
_PDF_BYTES_PER_TOKEN, _PDF = 25, 1_500
_TEXT_BYTES_PER_TOKEN = 4


def image_tokens(part: Mapping[str, Any]) -> int:
    """Of an image part: 85 and 170 for each tile of 512 pixels, as OpenAI states it."""
    image = part.get("image_url", part.get("image"))
    address = image.get("url") if isinstance(image, Mapping) else image
    if (image.get("detail") if isinstance(image, Mapping) else part.get("detail")) == "low":
        return _IMAGE_BASE
    found = image_size(address) if isinstance(address, str) else None
    if found is None:
        return IMAGE
    width, height = found
    shrink = min(1.0, 2048 / max(width, height))
    shrink *= min(1.0, 768 / (shrink * min(width, height)))
    tiles = math.ceil(width * shrink / _TILE) * math.ceil(height * shrink / _TILE)
    return _IMAGE_BASE + _TILE_TOKENS * max(1, tiles)


def image_size(address: str) -> tuple[int, int] | None:
    """Width and height of an image in a data URL; None where its header does not tell."""
    data = _decoded(address)
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            found = struct.unpack(">II", data[16:24])
        elif data[:6] in (b"GIF87a", b"GIF89a"):
            found = struct.unpack("<HH", data[6:10])
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            found = _webp(data)
        elif data[:2] == b"\xff\xd8":
            found = _jpeg(data)
        else:
            return None
    except (struct.error, IndexError):
        return None
    width, height = found
    return (width, height) if width > 0 and height > 0 else None


def audio_tokens(part: Mapping[str, Any]) -> int:
    """Of a recording: 32 for each second, the most that a provider states."""
    audio = part.get("input_audio")
    data = audio.get("data") if isinstance(audio, Mapping) else None
    if not isinstance(data, str):
        return _AUDIO_PER_SECOND
    head = _decoded(data[:64], bare=True)
    rate = _COMPRESSED_BYTES_PER_SECOND
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE" and len(head) >= 32:
        rate = struct.unpack("<I", head[28:32])[0] or rate
    return max(1, round(_AUDIO_PER_SECOND * _size(data) / rate))


def file_tokens(part: Mapping[str, Any]) -> int:
    """Of a document: by its size."""
    file = part.get("file")
    data = file.get("file_data") if isinstance(file, Mapping) else part.get("file_data")
    if not isinstance(data, str):
        return _PDF
    header, _, encoded = data[:200].partition(",")
    length = _size(data) - (len(header) * 3 // 4 if encoded else 0)
    if header.startswith("data:text/"):
        return max(1, length // _TEXT_BYTES_PER_TOKEN)
    return max(_PDF, length // _PDF_BYTES_PER_TOKEN)


def _size(encoded: str) -> int:
    return len(encoded) * 3 // 4


def _decoded(address: str, *, bare: bool = False) -> bytes:
    """The first bytes of what a data URL, or bare base64, holds."""
    if bare:
        encoded = address
    else:
        if not address.startswith("data:"):
            return b""
        header, _, encoded = address[: _HEADER + 200].partition(",")
        if not header.endswith(";base64"):
            return b""
    encoded = encoded[:_HEADER]
    try:
        return base64.b64decode(encoded[: len(encoded) // 4 * 4])
    except (binascii.Error, ValueError):
        return b""


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _jpeg(data: bytes) -> tuple[int, int]:
    place = 2
    while data[place] == 0xFF:
        marker = data[place + 1]
        # The start-of-frame markers; C4, C8 and CC in between mean something else.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        place += 2 + int(struct.unpack(">H", data[place + 2 : place + 4])[0])
    return 0, 0
