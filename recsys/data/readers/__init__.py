"""Read files of rows: delimited text, JSON lines, Parquet, Arrow and Excel.

`expand` finds the files, `sample_rows` gives their first rows as texts, `read_rows` reads validated columns and
accounts for every row, and `read_texts` reads the small files of users and items.
"""

from recsys.data.readers.conversion import is_integer
from recsys.data.readers.fields import Field, Stars, Text, Weight
from recsys.data.readers.files import expand
from recsys.data.readers.format import Format, RowCounts, Rows, Sample, SourceFile, Values
from recsys.data.readers.id_fields import AnyId, IntegerId, same_kind
from recsys.data.readers.rows import read_rows
from recsys.data.readers.streams import open_bytes
from recsys.data.readers.texts import column_names, read_texts, sample_rows, text_columns
from recsys.data.readers.time_fields import Time

__all__ = [
    "AnyId",
    "Field",
    "Format",
    "IntegerId",
    "RowCounts",
    "Rows",
    "Sample",
    "SourceFile",
    "Stars",
    "Text",
    "Time",
    "Values",
    "Weight",
    "column_names",
    "expand",
    "is_integer",
    "open_bytes",
    "read_rows",
    "read_texts",
    "same_kind",
    "sample_rows",
    "text_columns",
]
