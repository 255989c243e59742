"""A MkDocs hook for pages of the site that are outside of docs/: the READMEs of the vendors, the
changelog, the decisions.

Their links are relative to the file, so that they work in the repository as well. Here they are
rewritten to pages of the site; a link to a file that is not a page becomes its path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
CODE_OR_TAG = re.compile(r"(`[^`]*`)|<(?=/?[a-z_]+>)")


def included() -> Dict[str, str]:
    """Return the pages outside of docs/: page -> path in the repository."""
    pages = {
        f"{path.stem.lower()}.md": path.name
        for path in (ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md")
    }
    for path in sorted((ROOT / "plugins").glob("*/README.md")):
        pages[f"vendors/{path.parent.name}.md"] = str(path.relative_to(ROOT).as_posix())
    for path in sorted((ROOT / "plugins/siemtap/decisions").glob("*.md")):
        pages[f"decisions/{path.name}"] = str(path.relative_to(ROOT).as_posix())
    return pages


def on_config(config: Any) -> Any:
    """Add the page of each vendor to the navigation, under "Sources"."""
    (sources,) = (part["Sources"] for part in config.nav if "Sources" in part)
    vendors = [
        {(ROOT / source).read_text(encoding="utf-8").partition("\n")[0].lstrip("# "): page}
        for page, source in included().items()
        if page.startswith("vendors/")
    ]
    sources[:0] = [vendor for vendor in vendors if vendor not in sources]
    return config


def pictures() -> Dict[str, str]:
    """Return the site's pictures that are no file of docs/: picture -> path in the repository."""
    return {
        f"vendors/{path.parents[1].name}-{path.name}": str(path.relative_to(ROOT).as_posix())
        for path in sorted((ROOT / "plugins").glob("*/elastic/*.png"))
    }


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for page, source in {**included(), **pictures()}.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    uri = page.file.src_uri
    source = included().get(uri, f"docs/{uri}")
    lines = relinked(markdown, uri, source).split("\n")
    return "\n".join(escaped(line) if line.startswith("|") else line for line in lines)


def relinked(markdown: str, uri: str, source: str) -> str:
    """Return the text of the page at `uri`, read from `source`, with links for the site."""
    pages = {path: page for page, path in {**included(), **pictures()}.items()}

    def replace(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        path = os.path.normpath(os.path.join(os.path.dirname(source), target))
        if not (ROOT / path).exists():
            return match[0]  # MkDocs reports it
        place = pages.get(path) or (path[len("docs/") :] if path.startswith("docs/") else "")
        if not place:
            return text if text.strip("`") == path else f"{text} (`{path}`)"
        relative = os.path.relpath(place, os.path.dirname(uri) or ".")
        return f"{image}[{text}]({relative}{anchor or ''})"

    return LINK.sub(replace, markdown)


def escaped(line: str) -> str:
    """Return a line of a table with `<name>` outside of code escaped."""
    return CODE_OR_TAG.sub(lambda match: match[1] or "&lt;", line)
