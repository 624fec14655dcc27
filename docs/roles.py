"""A hook of MkDocs: what docstrings mark up as reStructuredText, and Markdown would show as it is written."""

import re

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):<code>[~.]*([^<]*)</code>")
_BLOCK = re.compile(r"::(</p>\s*<(?:pre|div class=\"(?:highlight|language))|</p>\s*<div)")


def on_page_content(html: str, **_: object) -> str:
    """Return a page's HTML with roles as plain code, and one colon before a block of code."""
    return _BLOCK.sub(r":\1", _ROLE.sub(r"<code>\1</code>", html))
