"""The walk-through of "Adding a vendor": its plugin, made by its blocks."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/adding-a-vendor.md"
BLOCK = re.compile(r"```(?:python|http|text)\n(?:#|//) (\S+?)(?:: ([^\n]*))?\n(.*?)```", re.DOTALL)


def blocks(part):
    """Return (path, instruction, block) of every block between the comments of this name."""
    page = PAGE.read_text(encoding="utf-8")
    walk = page.partition(f"<!-- {part} -->")[2].partition(f"<!-- /{part} -->")[0]
    return BLOCK.findall(walk)


def write(package, part="walk-through"):
    """Put the blocks into the files of a new plugin; return the number of Python's lines."""
    written = 0
    for path, instruction, block in blocks(part):
        file = package / path
        file.write_text(apply(file.read_text(), instruction, block))
        if path.endswith(".py"):
            written += len([line for line in block.splitlines() if line.strip()])
    return written


def apply(text, instruction, block):
    """Return a file's text with a block of the page in its place."""
    if not instruction:
        return block
    if instruction.startswith("instead of the row"):
        name = re.escape(instruction.rpartition(" ")[2])
        return re.sub(rf"^ *Field\({name}.*\n", lambda _: block, text, count=1, flags=re.MULTILINE)
    if instruction.startswith("instead of the line"):
        begin, _, end = re.sub(r"instead of the lines?( from)? ", "", instruction).partition(" to ")
        lines = rf"(?ms)^ *{re.escape(begin)}.*?\n" + (
            rf"(?:.*?^{re.escape(end)}.*?\n)" * bool(end)
        )
        assert re.search(lines, text), instruction
        return re.sub(lines, lambda _: block, text, count=1)
    if instruction.startswith("instead of "):
        start = text.index(f"{instruction.removeprefix('instead of ')}")
        start = text.rindex("\n", 0, start) + 1
        indent = re.match(" *", text[start:])[0]
        end = re.compile(rf"^ {{0,{len(indent)}}}(?:def|class|@)\b", re.MULTILINE).search(
            text, start + len(indent) + 1
        )
        return text[:start] + block + text[end.start() :]
    assert instruction == "more imports"
    return text.replace("from .manifest", f"{block}\nfrom .manifest", 1)
