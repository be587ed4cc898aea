"""Files that are whole or absent, read within limits, and folders that one process at a time writes."""

from recsys.files.folders import (
    folder_lock,
    foreign_names,
    is_locked,
    new_folder,
)
from recsys.files.reading import (
    CURVE_BYTES,
    LARGEST,
    bounded,
    checked_yaml,
    file_sha256,
    is_hollow,
    open_regular,
    parsed_json,
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
    "CURVE_BYTES",
    "LARGEST",
    "WriteError",
    "atomic_folder",
    "atomic_write",
    "bounded",
    "checked_yaml",
    "file_sha256",
    "folder_lock",
    "foreign_names",
    "is_hollow",
    "is_locked",
    "new_folder",
    "open_regular",
    "parsed_json",
    "read_json",
    "read_regular",
    "remove_abandoned",
    "scratch_folder",
    "sync",
    "write_errors",
    "write_json",
]
