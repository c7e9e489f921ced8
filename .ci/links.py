"""Whether every relative link of the pages leads to a file and a heading that are there, and every source file they name is there.

Pages of docs/ are a book (docs/SUMMARY.md): each of them must be in it, and none may link to a file outside of docs/, which the
book has not.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "docs"
SUMMARY = BOOK / "SUMMARY.md"


def text_of(page):
    """The page without its code."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", lambda code: code[0] if "](" not in code[0] else "", text)


def anchors(page):
    """What GitHub and mdBook call the headings of a page."""
    found = set()
    for heading in re.findall(r"^#+ +(.*?) *$", text_of(page), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        while (unique := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(unique)
    return found


pages = [*sorted(ROOT.glob("*.md")), *sorted(BOOK.rglob("*.md"))]
errors, links = [], 0
for page in pages:
    here = page.relative_to(ROOT)
    for target in re.findall(r"\]\(<?([^)>\s]+)>?\)", text_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        links += 1
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            errors.append(f"{here}: links to {target}, which is not there")
        elif page.is_relative_to(BOOK) and not file.is_relative_to(BOOK):
            errors.append(f"{here}: links to {target}, which is not in the book; name the file without a link")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            errors.append(f"{here}: links to {target}; that page has no such heading")
    sources = re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:rs|py|cu|c|sh))`", text_of(page))
    errors += [f"{here}: names {source}, which is not there" for source in sources if not (ROOT / source).exists()]
listed = {(BOOK / path).resolve() for path in re.findall(r"\]\(([^)]+)\)", SUMMARY.read_text(encoding="utf-8"))}
errors += [f"docs/SUMMARY.md does not list {page.relative_to(BOOK)}" for page in sorted(BOOK.rglob("*.md")) if page not in listed | {SUMMARY}]
if errors:
    sys.exit("\n".join(errors))
print(f"links: {links} links of {len(pages)} pages lead somewhere")
