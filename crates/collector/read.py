"""Reads a data set with pandas, pyarrow, polars and DuckDB, each by the name of its folder, and compares.

    just read training_data
"""

import os
import sys

import duckdb
import pandas
import polars
import pyarrow.parquet

folder = sys.argv[1]
# polars takes all files below a folder: where something was rejected it needs to be told which.
plain = f"{folder}/*.parquet" if os.path.isdir(f"{folder}/_rejected") else folder
READERS = {
    "pandas": lambda: pandas.read_parquet(folder),
    "pyarrow": lambda: pyarrow.parquet.read_table(folder).to_pandas(),
    "polars": lambda: polars.read_parquet(plain).to_pandas(),
    "duckdb": lambda: duckdb.sql(f"SELECT * FROM read_parquet('{folder}')").df(),
}

found = {}
for name, read in READERS.items():
    rows = read()
    found[name] = sorted(zip(rows["_partition"], rows["_offset"], rows["_key"].fillna("")))
    print(f"{name:8} {len(rows)} rows, {len(rows.columns)} columns, {len(set(found[name]))} different records")
assert all(rows == found["pandas"] for rows in found.values()), "they do not read the same"
