"""A file that is posted as a form: checked, counted and written while it arrives."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request

from gateway.prompt import Tenant
from serving.multipart import End, Head, Multipart
from store.errors import InvalidValue, MissingColumn

if TYPE_CHECKING:
    from gateway.account.files import Files, Upload

# The head of a form, and its other fields, beside the file.
OVERHEAD_BYTES = 65_536
_LONGEST_FIELD = 4_096
# So much is handed to a thread at once, which hashes, encrypts and writes it.
_CHUNK = 1 << 18
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


@dataclass(slots=True)
class Form:
    """What came with a file.

    Attributes
    ----------
    fields : every other field of the form by name.
    """

    filename: str = "file"
    fields: dict[str, str] = field(default_factory=dict)


async def receive(request: Request, files: Files, tenant: Tenant) -> tuple[Upload, Form]:
    """Read a form with one file in the field `file`; the upload is the caller's to finish or abandon.

    Raises
    ------
    InvalidValue, MissingColumn : the form is malformed, too large, or has no file.
    SettingsError : the file is to be encrypted, and there is no key.
    ClientDisconnect : the client went away; nothing is left behind.
    """
    form = Form()
    multipart = Multipart(request.headers.get("content-type", "").encode("latin-1"))
    upload: Upload | None = None
    name, inside, text, chunk = "", False, bytearray(), bytearray()
    try:
        async with aclosing(request.stream()) as stream:
            async for data in stream:
                for found in multipart.feed(data):
                    if isinstance(found, Head):
                        name, inside = found.name, found.name == "file"
                        text.clear()
                        if inside and upload is not None:
                            raise InvalidValue("The form has two files.", remedy="Send one at a time.", field="file")
                        if inside:
                            form.filename = _named(found.filename)
                            upload = await asyncio.to_thread(files.begin, tenant)
                    elif isinstance(found, End):
                        if not inside:
                            form.fields[name[:128]] = text.decode("utf-8", "replace")
                    elif inside:
                        chunk += found
                    else:
                        text += found
                        if len(text) > _LONGEST_FIELD:
                            raise InvalidValue(
                                f"The field {name[:64]!r} is longer than {_LONGEST_FIELD:,} bytes.",
                                remedy="Shorten it; the file itself belongs into the field `file`.",
                                field=name[:64],
                            )
                if len(chunk) >= _CHUNK and upload is not None:
                    await asyncio.to_thread(upload.write, bytes(chunk))
                    chunk.clear()
        multipart.finish()
        if upload is None:
            raise MissingColumn("The form has no file.", remedy="Add it as the field `file`.", field="file")
        await asyncio.to_thread(upload.write, bytes(chunk))
    except BaseException:
        if upload is not None:
            upload.abandon()
        raise
    return upload, form


def _named(given: str | None) -> str:
    """The last part of a file's name, as something to show: it is never used as a path."""
    name = _UNPRINTABLE.sub("", (given or "").replace("\\", "/").rpartition("/")[2]).strip()
    return name[:256] or "file"
