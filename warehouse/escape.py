"""Escape untrusted text for terminals, logs, Markdown, HTML and JSON.

In: a value, path, name, or a message that quotes them. Out: text without characters that control a
terminal, forge a log line, change the text direction, or are Markdown or HTML syntax.
"""

from __future__ import annotations

import html
import json
import re

# Control characters (C0, DEL, C1); line and paragraph separators; marks, embeddings, overrides and
# isolates of text direction; other invisible format characters, except the two joiners that scripts
# need; tag characters; and lone surrogates, which no stream can encode.
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_MARKDOWN = re.compile(r"([\\`*_\[\]|~#>])")


def escaped(value: object, *, keep: str = "") -> str:
    r"""Return text for one line of a terminal or log, with escapes such as ``\x1b``.

    Parameters
    ----------
    value
        Any object; ``str(value)`` is escaped.
    keep
        Characters that are not escaped, such as a line feed.

    Examples
    --------
    >>> print(escaped("a\x1b[31mb\nc"))
    a\x1b[31mb\nc
    """
    return _HARMFUL.sub(lambda found: found[0] if found[0] in keep else _code(found[0]), str(value))


def markdown(value: object) -> str:
    r"""Return text escaped for Markdown, including table cells.

    Examples
    --------
    >>> print(markdown("a|<b>*"))
    a\|&lt;b&gt;\*
    """
    text = _MARKDOWN.sub(r"\\\1", escaped(value))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\\>", "&gt;")


def html_text(value: object) -> str:
    """Return text escaped for HTML, including attribute values.

    Examples
    --------
    >>> html_text('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(escaped(value))


def json_text(text: str) -> str:
    r"""Return equivalent JSON without characters that control a terminal.

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
