"""Makes the documents of the tree the pages of the book.

In the tree, links lead from file to file, so that they work where the tree is read. In the book, a link to a document leads to
its page, and a link to any other file or directory of the tree to a page that shows it. A link to what is not there stays as
it is, and fails the build.
"""

import posixpath
import re
import subprocess
from pathlib import Path

from mkdocs.structure.files import File

TREE = Path(__file__).resolve().parents[2]

# The documents outside of docs/, and what their pages are called.
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "conformance/README.md": "suite.md",
    "findings/README.md": "findings.md",
    "guests/README.md": "guide.md",
    "guests/sdk/README.md": "sdk/index.md",
    "guests/sdk/assemblyscript/README.md": "sdk/assemblyscript.md",
    "guests/sdk/c/README.md": "sdk/c.md",
    "guests/sdk/go/README.md": "sdk/go.md",
}

# Wide enough for the lines of code that the tree has.
STYLE = ".md-grid { max-width: 82rem; }\n"

LINK = re.compile(r"(?<=\]\()(?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?(?=\))")
TABLE = re.compile(r"^\|.*\|$", re.MULTILINE)
CODE = re.compile(r"`[^`\n]+`")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def on_files(files, config):
    tracked = set(subprocess.check_output(["git", "-C", TREE, "ls-files", "-z"], text=True).split("\0"))
    directories = {posixpath.dirname(path) for path in tracked}
    directories |= {parent for path in directories for parent in map(str, Path(path).parents)}
    book = {page: path for path, page in PAGES.items()}
    book |= {file.src_uri: f"docs/{file.src_uri}" for file in files.documentation_pages()}
    config.extra["pages"] = pages = {path: page for page, path in book.items()}
    files.append(File.generated(config, "book.css", content=STYLE))
    for path, page in PAGES.items():
        files.append(File.generated(config, page, content=(TREE / path).read_text()))

    # What documents show of the tree: files, and directories with the files in them.
    shown = []
    for path in list(pages):
        text = FENCE.sub("", (TREE / path).read_text())
        shown += [posixpath.normpath(posixpath.join(posixpath.dirname(path), link["path"])) for link in LINK.finditer(text)]
    for path in shown:
        if path in pages or path not in tracked | directories:
            continue
        pages[path] = page = f"source/{path}.md"
        if path in tracked:
            content = source(path)
        else:
            within = sorted(file for file in tracked if file.startswith(f"{path}/"))
            shown += within
            links = "".join(f"- [`{posixpath.relpath(file, path)}`]({posixpath.relpath(file, posixpath.dirname(path))})\n"
                            for file in within)
            content = f"# `{path}`\n\n{links}"
        files.append(File.generated(config, page, content=f"---\nsearch:\n  exclude: true\n---\n{content}"))
    config.extra["paths"] = {page: path for path, page in pages.items()}
    return files


def source(path):
    """A page that shows a file."""
    try:
        text = (TREE / path).read_text().rstrip()
    except UnicodeDecodeError:
        return f"# `{path}`\n\n{(TREE / path).stat().st_size} bytes that are not text."
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    language = {".sh": "bash", ".wit": "text", ".lock": "toml"}.get(Path(path).suffix, Path(path).suffix[1:])
    return f"# `{path}`\n\n{fence}{language}\n{text}\n{fence}\n"


def on_page_markdown(markdown, page, config, files):
    pages = config.extra["pages"]
    here = page.file.src_uri
    directory = posixpath.dirname(config.extra["paths"][here])

    def lead(link):
        path = posixpath.normpath(posixpath.join(directory, link["path"]))
        if path not in pages:
            return link[0]
        return posixpath.relpath(pages[path], posixpath.dirname(here) or ".") + (link["anchor"] or "")

    if here.startswith("source/") and config.extra["paths"][here] not in PAGES and "```" in markdown:
        return markdown # code, in which nothing is a link
    # Within code in a table, a bar is escaped for those that look for the ends of cells first. This book's parser does not.
    markdown = TABLE.sub(lambda row: CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), markdown)
    kept = []
    markdown = FENCE.sub(lambda code: kept.append(code[0]) or f"\0{len(kept) - 1}\0", markdown)
    markdown = LINK.sub(lead, markdown)
    return re.sub("\0(\\d+)\0", lambda number: kept[int(number[1])], markdown)
