"""Bodies to values and back: JSON with kombu's type wrappers, and compression, both bounded and behind an accept list.

kombu keeps the registry of types that a program may extend (`kombu.utils.json.register_type`); it is asked only about
types and markers that are not known here, so that a body of plain JSON costs the C codec and no more.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import json
import uuid
import zlib
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from decimal import Decimal, DecimalException

from amqtask.errors import ContentRefused, MalformedMessage, SettingsError, TaskError, nearest

JSON = "application/json"
GZIP = "application/x-gzip"  # kombu's name; what it writes is zlib's format, and both are read
BZIP2 = "application/x-bz2"

# A serializer's name in settings and options: its content type on the wire.
CONTENT_TYPES = {"json": JSON}
_LATER = ("yaml", "pickle", "msgpack", "auth")  # Celery's other serializers

COMPRESSIONS = {"gzip": GZIP, "zlib": GZIP, "bzip2": BZIP2, "bzip": BZIP2, GZIP: GZIP, BZIP2: BZIP2}

# The text encodings that a JSON body may be in. Not any codec that Python has: some (idna) take quadratic time.
_CHARSETS = {
    "": "utf-8", "utf-8": "utf-8", "utf8": "utf-8", "binary": "utf-8", "ascii": "utf-8", "us-ascii": "utf-8",
    "latin-1": "latin-1", "latin1": "latin-1", "iso-8859-1": "latin-1", "utf-16": "utf-16", "utf-32": "utf-32",
}  # fmt: skip


def content_type_of(serializer: str) -> str:
    """The content type of a serializer's name or content type. SettingsError when this version does not have it."""
    content_type = CONTENT_TYPES.get(serializer, serializer if serializer in CONTENT_TYPES.values() else None)
    if content_type is None:
        if serializer in _LATER:
            raise SettingsError(f"the serializer {serializer!r} is not in this version; it has: json")
        near = nearest(serializer, CONTENT_TYPES)
        raise SettingsError(f"unknown serializer {serializer!r}" + (f"; did you mean {near!r}?" if near else ""))
    return content_type


def accepted(serializers: Iterable[str]) -> frozenset[str]:
    """The content types that an accept list of names or content types lets in. SettingsError for unknown ones."""
    return frozenset(content_type_of(name) for name in serializers)


def compression_of(name: str) -> str:
    """The content type of a compression's name. SettingsError when this version does not have it."""
    try:
        return COMPRESSIONS[name]
    except KeyError:
        raise SettingsError(f"unknown compression {name!r}; this version has: gzip, bzip2") from None


def _wrapped(marker: str, value: object) -> dict[str, object]:
    return {"__type__": marker, "__value__": value}


class _Encoder(json.JSONEncoder):
    """JSON, and kombu's wrappers for the few types that JSON lacks."""

    def default(self, o: object) -> object:
        if isinstance(o, datetime):  # before date, which it is too
            return _wrapped("datetime", o.isoformat())
        if isinstance(o, date):
            return _wrapped("date", o.isoformat())
        if isinstance(o, time):
            return _wrapped("time", o.isoformat())
        if isinstance(o, Decimal):
            return _wrapped("decimal", str(o))
        if isinstance(o, uuid.UUID):
            return _wrapped("uuid", {"hex": o.hex})
        if isinstance(o, bytes):
            try:
                return _wrapped("bytes", o.decode())
            except UnicodeDecodeError:
                return _wrapped("base64", base64.b64encode(o).decode())
        from kombu.utils.json import JSONEncoder

        registered: json.JSONEncoder = JSONEncoder()  # what programs registered there; TypeError for the rest
        return registered.default(o)


# ensure_ascii: a lone surrogate, which UTF-8 cannot carry, travels as an escape.
_encode = _Encoder(ensure_ascii=True, separators=(",", ":")).encode


def to_json(value: object) -> bytes:
    """JSON text of `value` in bytes. Raises TaskError when it holds what JSON cannot carry."""
    try:
        return _encode(value).encode("ascii")
    except RecursionError as error:
        raise TaskError("arguments are nested too deep for JSON") from error
    except (TypeError, ValueError) as error:
        raise TaskError(f"arguments cannot be written as JSON: {error}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is needed, not {type(value).__name__}")
    return value


def _uuid(value: object) -> uuid.UUID:
    if not isinstance(value, dict):
        raise TypeError(f"an object is needed, not {type(value).__name__}")
    return uuid.UUID(hex=_text(value["hex"]))


_UNWRAP: dict[str, Callable[[object], object]] = {
    "datetime": lambda value: datetime.fromisoformat(_text(value)),
    "date": lambda value: datetime.fromisoformat(_text(value)).date(),
    "time": lambda value: time.fromisoformat(_text(value)),
    "decimal": lambda value: Decimal(_text(value)),
    "uuid": _uuid,
    "bytes": lambda value: _text(value).encode(),
    "base64": lambda value: base64.b64decode(_text(value).encode()),
}


def _unwrap(o: dict[str, object]) -> object:
    if len(o) != 2 or "__type__" not in o or "__value__" not in o:
        return o
    marker, value = o["__type__"], o["__value__"]
    decoder = _UNWRAP.get(marker) if isinstance(marker, str) else None
    try:
        if decoder is not None:
            return decoder(value)
    except (TypeError, ValueError, KeyError, DecimalException, binascii.Error) as error:
        raise _bad_body(f"{value!r:.80} is no {marker} ({error})") from error
    try:
        from kombu.utils.json import object_hook

        return object_hook(o)
    except Exception as error:  # a decoder that the program registered may raise anything
        raise _bad_body(f"the type marker {marker!r:.80} cannot be read ({error})") from error


def _bad_body(text: str) -> MalformedMessage:
    error = MalformedMessage(text)
    error.reason = "bad_body"
    return error


def _refused(text: str, reason: str = "content_refused") -> ContentRefused:
    error = ContentRefused(text)
    error.reason = reason
    return error


def from_json(body: bytes, charset: str | None = None) -> object:
    """Read a JSON body. Raises MalformedMessage (`bad_body`) or ContentRefused (a charset that is not read here)."""
    codec = "utf-8" if charset is None or charset == "utf-8" else _CHARSETS.get(charset.lower())
    if codec is None:
        raise _refused(f"text in {charset!r:.80} is not read here")
    try:
        text = body.decode(codec)
        if '"__type__"' in text:
            return json.loads(text, object_hook=_unwrap)
        value: object = json.loads(text)
    except RecursionError as error:
        raise _bad_body("the JSON is nested too deep") from error
    except ValueError as error:  # not JSON, not in that charset, or a number of too many digits
        raise _bad_body(f"the body is not JSON ({error})") from error
    return value


def compress(body: bytes, compression: str) -> tuple[bytes, str]:
    """The compressed body and the content type that names the compression. SettingsError for an unknown one."""
    content_type = compression_of(compression)
    return (zlib.compress(body) if content_type == GZIP else bz2.compress(body)), content_type


def decompress(body: bytes, compression: str, *, max_bytes: int) -> bytes:
    """Undo `compress`, never making more than `max_bytes`.

    Raises ContentRefused for an unknown compression (reason `content_refused`) or more data than that (`too_large`),
    MalformedMessage (`bad_body`) for data that is corrupt or cut short.
    """
    content_type = COMPRESSIONS.get(compression)
    try:
        if content_type == GZIP:
            inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # zlib's or gzip's format, whichever it is
            plain, done = inflate.decompress(body, max_bytes + 1), inflate.eof
        elif content_type == BZIP2:
            unzip = bz2.BZ2Decompressor()
            plain, done = unzip.decompress(body, max_bytes + 1), unzip.eof
        else:
            raise _refused(f"the compression {compression!r:.80} is not accepted here")
    except (zlib.error, OSError, ValueError) as error:
        raise _bad_body(f"the compressed body is corrupt ({error})") from error
    if len(plain) > max_bytes:
        raise _refused(f"the body unpacks to more than {max_bytes} bytes", "too_large")
    if not done:
        raise _bad_body("the compressed body is cut short")
    return plain
