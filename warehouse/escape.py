"""Text of files → text that can be shown. The one place where what came from outside is escaped.

In: a value, a path, a name, a message that quotes them. Out: text without characters that control a
terminal, forge a line of a log, reorder what is read, or mean something in Markdown or HTML.
"""

from __future__ import annotations

import html
import json
import re

# Cc: C0, DEL and C1. Line and paragraph separators. Marks, embeddings, overrides and isolates of
# text direction, other invisible format characters but the two joiners that scripts need, tags,
# and halves of surrogate pairs, which no stream can encode.
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_MARKDOWN = re.compile(r"([\\`*_\[\]|~#>])")


def escaped(value: object, *, keep: str = "") -> str:
    r"""Return text for a terminal or a log, on one line; what is harmful is written ``\x1b``.

    Parameters
    ----------
    value
        Anything; its text is taken.
    keep
        Characters left as they are: a line end, where the text has lines of its own.

    Examples
    --------
    >>> print(escaped("a\x1b[31mb\nc"))
    a\x1b[31mb\nc
    """
    return _HARMFUL.sub(lambda found: found[0] if found[0] in keep else _code(found[0]), str(value))


def markdown(value: object) -> str:
    r"""Return text for Markdown, as a cell of a table too.

    Examples
    --------
    >>> print(markdown("a|<b>*"))
    a\|&lt;b&gt;\*
    """
    text = _MARKDOWN.sub(r"\\\1", escaped(value))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\\>", "&gt;")


def html_text(value: object) -> str:
    """Return text for HTML, inside an attribute too.

    Examples
    --------
    >>> html_text('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(escaped(value))


def json_text(text: str) -> str:
    r"""Return JSON with the same meaning, in which nothing controls a terminal.

    Examples
    --------
    >>> json_text('"\x9b"') == r'"\u009b"'
    True
    """
    return _HARMFUL.sub(
        lambda found: found[0] if found[0] in "\n\t" else json.dumps(found[0])[1:-1], text
    )


def _code(character: str) -> str:
    number = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
