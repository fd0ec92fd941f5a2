"""What the site needs beyond docs/: the README is its first page, the benchmarks' results are pages, links to source files are words alone."""

import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"
OUTSIDE = r"\[([^\]]+)\]\({up}\.\./(?!README|bench/results/\w)[^)]*\)"  # a link that leaves docs/, from a page so deep in it

BEGINS = re.compile(r"(?:[-*]|\d+\.|\|) ?")  # a list or a table
GOES_ON = re.compile(r"(?:[-*]|\d+\.|\|| |#)|$")  # so an item, a row, or what belongs to one
MARK = re.compile(r"^ *<!-- (?:not )?run: .* -->\n", re.MULTILINE)  # for the tests of the blocks


def on_files(files, config):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=_from_the_root(readme)))
    for page in sorted(RESULTS.glob("*.md")):
        files.append(File.generated(config, f"bench/{page.name}", content=page.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown, page, **_more):
    up = "../" * page.file.src_uri.count("/")
    markdown = _apart(MARK.sub("", markdown))
    markdown = re.sub(OUTSIDE.format(up=re.escape(up)), r"\1", markdown)
    markdown = markdown.replace(f"]({up}../README.md", f"]({up}index.md")
    return re.sub(rf"\]\({re.escape(up)}\.\./bench/results/(\w+\.md)", rf"]({up}bench/\1", markdown)


def _from_the_root(readme):
    """The README's links, as seen from docs/."""
    readme = readme.replace("](docs/", "](")
    return re.sub(r"\]\(bench/results/?\)", "](bench/backup.md)", re.sub(r"\]\(bench/results/(\w)", r"](bench/\1", readme))


def _apart(markdown):
    """An empty line before each list and table, which this Markdown needs and others do not."""
    lines, before, fenced = [], "", False
    for line in markdown.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif (
            not fenced
            and BEGINS.match(line)
            and (not GOES_ON.match(before) or ((line[0] == "|") != (before[:1] == "|") and before))
        ):
            lines.append("")
        lines.append(line)
        before = line
    return "\n".join(lines) + "\n"
