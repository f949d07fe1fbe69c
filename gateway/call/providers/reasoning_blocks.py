"""Reasoning as an assistant's message keeps it, and as a client of Anthropic's format carries it for us.

`reasoning_blocks` of a message holds one object for each block: whose it is in `provider`, the block itself, and in
`after_text` and `after_calls` how many characters and tool calls came before it. A client of Anthropic's format knows
nothing of providers, but sends thinking back unread: there the provider is noted in front of the signature.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

Block = dict[str, Any]

THINKING = ("thinking", "redacted_thinking")
_MARK = "merit."
_FIELDS = ("type", "thinking", "signature", "data")


def thought(block: Mapping[str, Any], source: str, text_before: int = 0, calls_before: int = 0) -> Block:
    """A thinking block of Anthropic's as a message keeps it."""
    kept: Block = {"provider": source}
    kept.update((name, block[name]) for name in _FIELDS if name in block)
    if text_before:
        kept["after_text"] = text_before
    if calls_before:
        kept["after_calls"] = calls_before
    return kept


def bare(block: Mapping[str, Any]) -> Block:
    """The block as its provider made it."""
    return {name: block[name] for name in _FIELDS if name in block}


def mark(signature: str, source: str) -> str:
    """A signature with its provider in front; Anthropic's own stay as they are."""
    return signature if source == "anthropic" else f"{_MARK}{source}:{signature}"


def shown_to_client(message: Mapping[str, Any]) -> list[Block]:
    """The thinking blocks that a client of Anthropic's format sees of a message, whoever thought.

    Blocks that are no thinking (signatures of other formats) travel within `redacted_thinking`.
    """
    kept = [block for block in message.get("reasoning_blocks") or () if isinstance(block, Mapping)]
    shown: list[Block] = []
    for block in kept:
        source = str(block.get("provider"))
        if block.get("type") in THINKING:
            field = "data" if block["type"] == "redacted_thinking" else "signature"
            shown.append({**bare(block), field: mark(str(block.get(field) or ""), source)})
        elif block.get("type") != "reasoning":
            packed = base64.urlsafe_b64encode(orjson.dumps(block)).decode()
            shown.append({"type": "redacted_thinking", "data": f"{_MARK}{source}#{packed}"})
    text = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(text, str) and text and not any(block["type"] == "thinking" for block in shown):
        source = next((str(block.get("provider")) for block in kept), "unknown")
        shown.insert(0, {"type": "thinking", "thinking": text, "signature": f"{_MARK}{source}:"})
    return shown


def seen_by_client(block: Mapping[str, Any], text_before: int = 0, calls_before: int = 0) -> Block:
    """The other way round: a thinking block that a client sent back, as a message keeps it."""
    field = "data" if block.get("type") == "redacted_thinking" else "signature"
    signature = block.get(field)
    if not isinstance(signature, str) or not signature.startswith(_MARK):
        return thought(block, "anthropic", text_before, calls_before)
    rest = signature.removeprefix(_MARK)
    source, divider, packed = rest.partition("#")
    if divider and ":" not in source:
        try:
            kept = orjson.loads(base64.urlsafe_b64decode(packed))
        except (binascii.Error, ValueError):
            kept = None
        return {**(kept if isinstance(kept, dict) else {"type": "unreadable"}), "provider": source}
    source, _, original = rest.partition(":")
    return thought({**block, field: original}, source, text_before, calls_before)
