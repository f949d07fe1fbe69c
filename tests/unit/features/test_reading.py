"""Files as people have them: encodings, separators, decimal commas, and what is no table."""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import CONTRACTS
from features.mapping import map_columns, parse_mapping
from features.panel import read_panel
from features.reading import open_table, read_table
from store.errors import EmptyData, FileUnreadable, InvalidValue, MissingColumn, ValidationFailed


def write(folder: Path, content: bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        "name,price,id\nÜnal,1.5,007\nBob,2.25,008\n".encode(),
        "\ufeffname,price,id\r\nÜnal,1.5,007\r\nBob,2.25,008".encode(),
        "name;price;id\nÜnal;1,5;007\nBob;2,25;008\n".encode("cp1252"),
        "name\tprice\tid\nÜnal\t1.5\t007\nBob\t2.25\t008\n".encode("utf-16"),
        'name|price|id\n"Ünal"|1.5|007\n"Bob"|2.25|008\n\n'.encode(),
    ],
)
def test_the_same_table_in_many_forms(tmp_path: Path, content: bytes) -> None:
    frame = read_table(write(tmp_path, content))
    expected = pd.DataFrame({"name": ["Ünal", "Bob"], "price": [1.5, 2.25], "id": ["007", "008"]})
    pd.testing.assert_frame_equal(frame, expected)


def test_compressed_and_parquet(tmp_path: Path) -> None:
    packed = write(tmp_path, gzip.compress(b"a,b\n1,x\n2,\n"), "table.csv.gz")
    frame = read_table(packed)
    assert frame["a"].tolist() == [1, 2]
    assert frame["b"].isna().tolist() == [False, True]
    frame.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet"), frame)


def test_thousands_and_gaps_with_a_decimal_comma(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path, b"a;b\n1.234,5;1\n;2\n2,5;3\n"))
    assert frame["a"].dropna().tolist() == [1234.5, 2.5]
    assert frame["b"].tolist() == [1, 2, 3]


def test_dots_that_group_no_thousands_are_not_removed(tmp_path: Path) -> None:
    lines = [
        b"day;version;host;paid;total;small",
        b"03.01.2022;1.2.3;10.0.0.1;1,5;1.234;,5",
        b"10.01.2022;1.2.4;10.0.0.2;2;12.345.678,25;-1,5e3",
    ]
    frame = read_table(write(tmp_path, b"\n".join(lines)))
    assert frame["day"].tolist() == ["03.01.2022", "10.01.2022"]
    assert frame["version"].tolist() == ["1.2.3", "1.2.4"]
    assert frame["host"].tolist() == ["10.0.0.1", "10.0.0.2"]
    assert frame["paid"].tolist() == [1.5, 2.0]
    assert frame["total"].tolist() == [1234.0, 12345678.25]
    assert frame["small"].tolist() == [0.5, -1500.0]


def test_a_german_file_of_a_daily_series(tmp_path: Path) -> None:
    days = pd.date_range("2022-01-03", periods=60)
    values = np.arange(60) + 0.5
    lines = [f"{day:%d.%m.%Y};{value:.2f}".replace(".50", ",50") for day, value in zip(days, values, strict=True)]
    frame = read_table(write(tmp_path, ("ds;y\n" + "\n".join(lines) + "\n").encode()))
    panel = read_panel(frame, id_column=None)
    assert panel.frame["ds"].tolist() == days.tolist()
    assert panel.frame["y"].tolist() == values.tolist()


def test_separators_and_line_breaks_within_quotes(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path, b'a,b\n"x, ""y""\nz",2\n'))
    assert frame.to_dict("list") == {"a": ['x, "y"\nz'], "b": [2]}


@pytest.mark.parametrize(
    "content,error,words",
    [
        (b"", EmptyData, "is empty"),
        (b"  \n\n", EmptyData, "is empty"),
        (b"a,b\n", EmptyData, "no rows, only the columns a, b"),
        (b"a,b\n1,2\n1,2,3\n", FileUnreadable, "Line 3 .* has 3 fields instead of 2"),
        (b"a,a\n1,2\n", FileUnreadable, "two columns called 'a'"),
        (b"PK\x03\x04....", FileUnreadable, "Excel"),
        (b'{"a": 1}', FileUnreadable, "JSON"),
        (b"\x89\x00\x01\x02", FileUnreadable, "binary data"),
        (b"PAR1 and no more", FileUnreadable, "damaged Parquet"),
        (b"<html></html>", FileUnreadable, "HTML"),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, content: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        read_table(write(tmp_path, content))
    assert getattr(caught.value, "remedy", "")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    write(tmp_path, b"a\n1\n", "there.csv")
    with pytest.raises(FileUnreadable, match=r"there\.csv"):
        read_table(tmp_path / "their.csv")
    with pytest.raises(FileUnreadable, match="is a folder"):
        read_table(tmp_path)


def test_a_database_table_and_a_query(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE sales (a INTEGER, b TEXT)")
        connection.executemany("INSERT INTO sales VALUES (?, ?)", [(i, f"x{i}") for i in range(5)])
    connection.close()
    url = f"sqlite:///{tmp_path}/shop.db"
    assert read_table(f"{url}::sales")["a"].tolist() == [0, 1, 2, 3, 4]
    assert read_table(f"{url}::SELECT b, 'a:b' AS c FROM sales WHERE a > 3;").to_dict("list") == {
        "b": ["x4"],
        "c": ["a:b"],
    }
    for source, words in [
        (f"{url}::sale", "Did you mean 'sales'"),
        (f"{url}::SELECT shoe_size FROM sales", "no such column"),
        (url, "names no table"),
        (f"sqlite:///{tmp_path}/no.db::sales", "no SQLite file"),
        ("mysql://u:secret@h/d::t", "no driver"),
        ("postgresql://u:secret@127.0.0.1:1/d::t", "cannot be read"),
        ("https://example.org/a.csv", "Download the file"),
    ]:
        with pytest.raises(FileUnreadable, match=words) as caught:
            read_table(source)
        assert "secret" not in str(caught.value)
    assert not (tmp_path / "no.db").exists()


def test_chunks_cover_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.reading.CHUNK_ROWS", 1000)
    n = 3500
    pd.DataFrame({"a": np.arange(n), "b": "y"}).to_csv(tmp_path / "big.csv", index=False)
    chunks = list(open_table(tmp_path / "big.csv").chunks())
    assert [len(c.frame) for c in chunks] == [1000, 1000, 1000, 500]
    assert open_table(tmp_path / "big.csv").rows == n
    assert [v for c in chunks for v in c.frame["a"]] == [str(i) for i in range(n)]


def test_the_mapping_names_what_is_wrong() -> None:
    customers = CONTRACTS["customers"]
    own = ["signup_date", "kind", "region", "channel", "country"]
    found = map_columns(["Kunde", "shoe_size", *own], {"Kunde": "customer_id"}, customers)
    assert found.ours["Kunde"] == "customer_id"
    assert found.ignored == ("shoe_size",)
    assert found.absent == ("employees", "event_time", "recorded_at")
    with pytest.raises(MissingColumn, match="Did you mean 'Kunde'"):
        map_columns(["Kunde", *own], {"Kunden": "customer_id"}, customers)
    with pytest.raises(MissingColumn, match="Did you mean 'customer_id'"):
        map_columns(["Kunde", *own], {"Kunde": "customerid"}, customers)
    with pytest.raises(InvalidValue, match="'Kunde' and 'customer_id'"):
        map_columns(["Kunde", "customer_id", *own], {"Kunde": "customer_id"}, customers)
    with pytest.raises(ValidationFailed, match=r"customers\.customer_id: must be there; Did you mean 'CustomerID'"):
        map_columns(["CustomerID", *own], {}, customers)
    assert parse_mapping(["a=b=customer_id", " x = kind "]) == {"a=b": "customer_id", "x": "kind"}
    with pytest.raises(InvalidValue, match="theirs=ours"):
        parse_mapping(["customer_id"])
