"""Which kind of file a name stands for, and the routing key that takes it to its queue. Pure: no file is looked at."""

from __future__ import annotations

import os
import re

TEXT, IMAGE, ARCHIVE, OTHER = KINDS = ("text", "image", "archive", "other")

_SUFFIXES = {
    TEXT: "awk bat c cc cfg cocci conf cpp css csv diff dtd el go h hs htm html in ini java js json log lua m4 md mk "
    "patch php pl pm po pod properties py rb rs rst s sgml sh sql svg tex texi toml ts txt vim xhtml xml xsl yaml yml",
    IMAGE: "bmp gif jpeg jpg png webp",
    ARCHIVE: "bz2 epub gz jar odt tar tbz2 tgz txz whl xz zip",
}
_BY_SUFFIX = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
_TEXT_NAMES = re.compile(
    r"(authors|bugs|changelog|changes|contributing|copying|copyright|credits|faq|hacking|history|install|licen[cs]e|"
    r"makefile|news|notes|notice|porting|readme|release|thanks|todo)([-_.].*)?",
    re.IGNORECASE,
)
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def suffix_of(path: str) -> str:
    """The last suffix of a file's name, in lower case and fit to be a word of a routing key; `none` without one."""
    _, dot, suffix = os.path.basename(path).rpartition(".")  # noqa: PTH119 - a path may be no text that pathlib likes
    word = re.sub(r"[^a-z0-9]", "", suffix.lower())
    return word[:20] if dot and word else "none"


def kind_of(path: str) -> str:
    """One of KINDS: by the suffix, else by the names that text files without one usually have."""
    known = _BY_SUFFIX.get(suffix_of(path))
    if known is not None:
        return known
    return TEXT if _TEXT_NAMES.fullmatch(os.path.basename(path)) else OTHER  # noqa: PTH119


def routing_key(path: str) -> str:
    """What a file's task is published with: `file.text.md`, `file.archive.gz`, ..."""
    return f"file.{kind_of(path)}.{suffix_of(path)}"


def is_tar(path: str) -> bool:
    """Whether the name is that of a tar archive, compressed or not."""
    return path.lower().endswith(_TAR_SUFFIXES)
