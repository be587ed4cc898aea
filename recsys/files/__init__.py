"""Files that are whole or absent, read within limits, and folders that one process at a time writes."""

from recsys.files.folders import (
    folder_lock,
    foreign_names,
    is_locked,
    new_folder,
)
from recsys.files.reading import (
    MAX_CURVE_BYTES,
    MAX_FILE_BYTES,
    checked_yaml,
    file_sha256,
    is_hollow,
    open_regular,
    openness,
    parsed_json,
    read_bounded,
    read_json,
    read_regular,
)
from recsys.files.writing import (
    WriteError,
    atomic_folder,
    atomic_write,
    remove_abandoned,
    scratch_folder,
    sync,
    write_errors,
    write_json,
)

__all__ = [
    "MAX_CURVE_BYTES",
    "MAX_FILE_BYTES",
    "WriteError",
    "atomic_folder",
    "atomic_write",
    "checked_yaml",
    "file_sha256",
    "folder_lock",
    "foreign_names",
    "is_hollow",
    "is_locked",
    "new_folder",
    "open_regular",
    "openness",
    "parsed_json",
    "read_bounded",
    "read_json",
    "read_regular",
    "remove_abandoned",
    "scratch_folder",
    "sync",
    "write_errors",
    "write_json",
]
