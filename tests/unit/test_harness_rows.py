"""The harness's table of features and tests."""

from __future__ import annotations

from pathlib import Path

from tests.support.rows import collect, markdown, rows_of


def test_rows_are_read_from_names() -> None:
    assert rows_of("test_k09_unroutable_is_an_error") == ["K09"]
    assert rows_of("test_k01_s41_c02_routes") == ["K01", "S41", "C02"]
    assert rows_of("test_b26") == []
    assert rows_of("test_k9_is_no_row") == []


def test_the_page_lists_each_row_once(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "broker"
    folder.mkdir(parents=True)
    (folder / "test_a.py").write_text("def test_k09_a(): ...\nclass TestX:\n    async def test_k09_s01_b(self): ...\n")
    page = markdown(collect(tmp_path / "tests"))
    assert "| K09 | `tests/broker/test_a.py::test_k09_a`<br>`tests/broker/test_a.py::test_k09_s01_b` |" in page
    assert "| S01 | `tests/broker/test_a.py::test_k09_s01_b` |" in page
    assert page.index("S01") < page.index("K09")
