"""README and docs/: every command exists, every line that a reader copies is valid, nothing is
written twice."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from tls import make

from siemtap.core.errors import ConfigError
from siemtap.render import reference
from siemtap.shipper.cli.main import main
from siemtap.shipper.config import load as config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = {
    context.command_path: (command, context)
    for command, context in reference.walk(main, click.Context(main, info_name="siemtap"))
}
LINE = re.compile(r"(?m)^ {4,}(siemtap (?!\[).*?)(?: +# .*)?$")
IN_TEXT = re.compile(r"`(siemtap [a-z][^`]*)`")
YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
TOP = ("inputs:", "path.data", "output.", "setup.", "health.")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text(page):
    return page.read_text(encoding="utf-8")


def lines_of(page):
    """Return the command lines of a page: code blocks, and inline code with a subcommand."""
    return LINE.findall(text(page)) + IN_TEXT.findall(text(page))


def parse(line):
    """Parse a line as the command line does, without running it."""
    arguments = shlex.split(line.replace("…", " "))
    group, context = main, click.Context(main, info_name="siemtap")
    names = arguments[1:]
    while isinstance(group, click.Group) and names:
        if names[0].startswith("-"):
            return
        command = group.get_command(context, names[0])
        assert command, f"{line}: there is no command {names[0]}"
        context = click.Context(command, info_name=names.pop(0), parent=context)
        group = command
    options = {name for parameter in group.params for name in parameter.opts} | {"--help"}
    unknown = [word for word in names if word.startswith("-") and word not in options]
    assert not unknown, f"{line}: {unknown} is no option of {context.command_path}"


@each_page
def test_every_command_line_is_valid(page):
    for line in lines_of(page):
        parse(line)


def test_invalid_command_line_is_detected():
    for line in ("siemtap ran", "siemtap run --twice", "siemtap state lost"):
        with pytest.raises(AssertionError):
            parse(line)
    assert sum(len(lines_of(page)) for page in PAGES) > 60


def test_every_command_is_in_the_reference_and_on_a_page():
    rendered = text(ROOT / "docs/reference/commands.md")
    explained = "".join(text(page) for page in PAGES if page.name != "commands.md")
    explained += "".join(text(page) for page in (ROOT / "plugins").glob("*/README.md"))
    for name, (command, _) in COMMANDS.items():
        assert f"# {name}\n" in rendered, name
        if not isinstance(command, click.Group):
            assert name in explained, f"{name} is not explained on any page"


def test_every_setting_is_in_the_reference():
    rendered = text(ROOT / "docs/reference/settings.md")
    schema = config.whole_schema()["properties"]
    outputs = schema["output"]["properties"].values()
    names = {name for output in outputs for name in output["properties"]}
    names |= {name for section in schema.values() for name in section.get("properties", {})}
    for name in names - {"output", "kibana", "metrics", *schema["output"]["properties"]}:
        assert f"| `{name}` |" in rendered, name


@each_page
def test_every_configuration_is_valid(page, tmp_path):
    """Secrets and files exist; a part of a configuration is completed."""
    for block in YAML.findall(text(page)):
        if not block.startswith(("# siemtap.yml", *TOP)):
            continue
        block = re.sub(r"\$\{[^}]*\}", "a-secret-of-some-length", block)
        if "/etc/siemtap/" in block:
            make(tmp_path)
            shutil.copy(tmp_path / "cert.pem", tmp_path / "ca.pem")
            block = block.replace("/etc/siemtap/", f"{tmp_path}/")
        if "inputs:" not in block:
            block += "inputs: [{type: apptrana, client_id: x, client_secret: y}]\n"
        try:
            config.parse(block, page.name)
        except ConfigError as error:
            pytest.fail(f"{error}\n{block}")


def test_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= 8_000


@each_page
def test_links_between_files_have_a_target(page):
    """MkDocs checks the links of the site; these are followed on the repository's pages."""
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text(page)):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_at_the_top_of_the_repository():
    paths = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    top = {path.split("/")[0] for path in paths if path}
    assert {name for name in top if not name.startswith(".")} == {
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "ci",
        "docs",
        "mkdocs.yml",
        "packaging",
        "plugins",
        "pyproject.toml",
        "schemas",
        "setup.cfg",
        "tests",
    }
    assert len((ROOT / "pyproject.toml").read_text().splitlines()) <= 3


def test_changelog_follows_keep_a_changelog():
    lines = text(ROOT / "CHANGELOG.md").splitlines()
    assert lines[0] == "# Changelog" and "## [Unreleased]" in lines
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {line[4:] for line in lines if line.startswith("### ")} <= kinds


@each_page
def test_no_table_has_a_broken_row(page):
    """A row is one line: it ends with the bar that closes its last cell."""
    blocks = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    broken = [line for line in blocks.split("\n") if line.startswith("|") and line[-1:] != "|"]
    assert not broken, f"{page.name}: {broken}"
