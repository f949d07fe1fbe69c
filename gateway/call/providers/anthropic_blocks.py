"""Parts of a message in OpenAI's shape and content blocks in Anthropic's, one for the other."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.call.providers.provenance import text_of
from gateway.call.providers.wire import ProviderFailure

Block = dict[str, Any]


def blocks_of(content: Any) -> list[Block]:
    """A message's content as blocks; what is empty is left out, since Anthropic refuses empty text.

    Raises
    ------
    ProviderFailure : "refused", for parts that Anthropic has no block for.
    """
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    if not isinstance(content, list):
        return []
    blocks = []
    for part in content:
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        if isinstance(part, Mapping):
            block = _block(part)
            if block is not None:
                if "cache_control" in part:
                    block["cache_control"] = part["cache_control"]
                blocks.append(block)
    return blocks


def parts_of(content: Any) -> list[dict[str, Any]]:
    """Blocks as parts; blocks of a provider's own tools and of reasoning are left out."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    parts = []
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping):
            for part in _parts(block):
                if "cache_control" in block:
                    part["cache_control"] = block["cache_control"]
                parts.append(part)
    return parts


def simplest(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Parts as one text where they are nothing else; several texts stay apart."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts


def data_uri(uri: str) -> tuple[str, str] | None:
    """Media type and base64 of a data URI; None for another address."""
    if not uri.startswith("data:"):
        return None
    head, _, data = uri[5:].partition(",")
    media_type, *flags = head.split(";")
    if "base64" not in flags:
        data = base64.b64encode(data.encode()).decode()
    return media_type.lower() or "text/plain", data


def _block(part: Mapping[str, Any]) -> Block | None:
    kind = part.get("type")
    if kind in ("text", "refusal"):
        text = part.get(str(kind))
        return {"type": "text", "text": text} if isinstance(text, str) and text.strip() else None
    if kind == "image_url":
        picture = part.get("image_url")
        url = picture.get("url") if isinstance(picture, Mapping) else picture
        return {"type": "image", "source": _source(url)} if isinstance(url, str) else None
    if kind == "file":
        return _document(part.get("file"))
    if kind in ("image", "document", "search_result", "container_upload"):
        return dict(part)
    raise ProviderFailure("refused", f"Anthropic's format has no content of type {str(kind)[:50]!r}.", sent=False)


def _document(file: Any) -> Block | None:
    if not isinstance(file, Mapping):
        return None
    if isinstance(file.get("file_id"), str):
        return {"type": "document", "source": {"type": "file", "file_id": file["file_id"]}}
    data = file.get("file_data")
    if not isinstance(data, str):
        return None
    found = data_uri(data)
    if found is not None and found[0].startswith("text/"):
        try:
            text = base64.b64decode(found[1], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ProviderFailure("refused", "A file said to be text is not UTF-8 in base64.", sent=False) from None
        block: Block = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}
    elif found is not None or data.startswith(("https://", "http://")):
        block = {"type": "document", "source": _source(data)}
    else:
        block = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}
    if isinstance(file.get("filename"), str):
        block["title"] = file["filename"]
    return block


def _source(url: str) -> dict[str, str]:
    found = data_uri(url)
    if found is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": found[0], "data": found[1]}


def _parts(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    kind, source = block.get("type"), block.get("source")
    if kind == "text":
        if isinstance(block.get("text"), str):
            yield {"type": "text", "text": block["text"]}
    elif kind == "search_result":
        yield {"type": "text", "text": f"{block.get('title', '')}\n{text_of(block.get('content'))}".strip()}
    elif kind in ("image", "document") and isinstance(source, Mapping):
        how = source.get("type")
        if how == "text":
            yield {"type": "text", "text": str(source.get("data", ""))}
        elif how == "content":
            yield from parts_of(source.get("content"))
        elif how == "file":
            yield {"type": "file", "file": {"file_id": source.get("file_id")}}
        else:
            url = str(source.get("url"))
            if how == "base64":
                url = f"data:{source.get('media_type')};base64,{source.get('data')}"
            if kind == "image":
                yield {"type": "image_url", "image_url": {"url": url}}
            else:
                yield {"type": "file", "file": {"file_data": url, "filename": block.get("title") or "document.pdf"}}
