"""Writes the pages anew."""

from tests.tools.reference.pages import FOLDER, all_pages

FOLDER.mkdir(exist_ok=True)
for name, text in all_pages().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
