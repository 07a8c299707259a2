"""What the page on observability lists, for tests that compare it with what there is."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs" / "observability.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\|(.+)\|$", re.MULTILINE)
ALWAYS = {"time", "level", "event"}  # in each line of the log


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables in one section of the page, without their backquotes."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [
        [cell.strip().replace("`", "") for cell in row.split("|")] for row in ROW.findall(section)
    ]
    return [row for row in cells if set(row[0]) - set("-")]


def words(cell: str) -> list[str]:
    """Those of a list; what stands in brackets explains one."""
    return [word for word in re.sub(r" \([^)]*\)", "", cell).split(", ") if word]


def logged() -> dict[str, set[str]]:
    """The fields of each event that the page lists."""
    return {
        event.partition(" (")[0]: set(words(fields))
        for event, _, fields in rows("Logs")
        if event != "event"
    }
