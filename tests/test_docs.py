"""What the documents name is there: a sentence that leans on a test leans on one that exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")])
NAMED = re.compile(r"\btest_[a-z0-9_*]+(?:\.py|\.\.\.)?")
FILES = re.compile(r"\b(?:tests|scripts|deploy|docs|examples)/[\w*./-]*\w")
LINKS = re.compile(r"\]\((?!\w+:)([^)#]*)(?:#([^)]+))?\)")

TESTS = {
    name
    for file in ROOT.glob("tests/test_*.py")
    for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", file.read_text(), re.M)
}


def missing(text: str) -> Iterator[str]:
    """The tests and files that a page names and that are not there."""
    for name in NAMED.findall(text):
        if name.endswith(".py"):
            found = any(ROOT.glob(f"tests/{name}"))
        elif name.endswith("..."):
            found = any(test.startswith(name.removesuffix("...")) for test in TESTS)
        else:
            found = name in TESTS
        if not found:
            yield name
    for name in FILES.findall(text):
        if not any(ROOT.glob(name)):
            yield name


def anchors(page: Path) -> set[str]:
    """What its headings are linked by."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    assert list(missing(page.read_text())) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_where_a_page_leads_there_is_something(page: Path) -> None:
    for file, anchor in LINKS.findall(page.read_text()):
        there = page.parent / file if file else page
        assert there.exists(), file
        assert not anchor or anchor in anchors(there), f"{file}#{anchor}"


def test_what_is_missing_is_found() -> None:
    text = "`test_a_node_dies`, `test_soak.py`, `test_a_node_that_was_decl...`, `scripts/soak.py`"
    assert list(missing(text)) == []
    text = "`test_a_node_lives`, `test_sock.py`, `test_of_nothing...`, `scripts/sock.py`"
    assert list(missing(text)) == text.replace("`", "").split(", ")
