"""The program that reads a sheet for `excel`: from standard input, under limits, to standard output as lines of JSON.

Run by its path with the memory in bytes, the seconds of processor time and the sheet, since it imports nothing else.
"""

from __future__ import annotations

import io
import json
import sys
from datetime import date, datetime, time, timedelta
from typing import Any


def main(memory: str, seconds: str, sheet: str | None = None) -> None:
    content = sys.stdin.buffer.read()
    _limit(int(memory), int(seconds), len(content))
    about, rows = _read(content, sheet)
    out = sys.stdout
    out.write(json.dumps(about) + "\n")
    for row in rows:
        out.write(json.dumps([text_of(cell) for cell in row]) + "\n")
    out.flush()


def _limit(memory: int, seconds: int, held: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    limits = {resource.RLIMIT_AS: memory + held + (taken << 1), resource.RLIMIT_CPU: seconds, resource.RLIMIT_CORE: 0}
    for limit, value in limits.items():
        try:
            resource.setrlimit(limit, (value, value))
        except (OSError, ValueError):  # above what this process may have, or not known to the system
            continue


def _read(content: bytes, sheet: str | None) -> tuple[dict[str, Any], list[list[Any]]]:
    import python_calamine

    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        names = book.sheet_names
        if sheet is not None and sheet not in names:
            return {"error": f"no sheet {sheet!r}; the sheets are {', '.join(names)}"}, []
        return {}, book.get_sheet_by_name(sheet or names[0]).to_python(skip_empty_area=False)
    except (python_calamine.CalamineError, OSError, IndexError, ValueError) as error:
        return {"error": f"not a readable Excel file: {error}"}, []


def text_of(cell: Any) -> str:
    """A cell as Excel shows it in plain form."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1 << 53 else repr(cell)
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    return str(cell.total_seconds()) if isinstance(cell, timedelta) else str(cell)


if __name__ == "__main__":
    main(*sys.argv[1:])
