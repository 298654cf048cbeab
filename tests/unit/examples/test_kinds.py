"""Which kind a file's name stands for, and its routing key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from amqtask.settings import load
from amqtask.topology.model import Topology
from amqtask.topology.reach import queues_reached
from examples.file_index import kinds, run
from examples.file_index.index import walk


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("/a/b/guide.md", "file.text.md"),
        ("/a/b.c/README", "file.text.none"),
        ("/a/README.Debian", "file.text.debian"),
        ("/a/copyright", "file.text.none"),
        ("/a/changelog.Debian.gz", "file.archive.gz"),
        ("/a/source.tar.xz", "file.archive.xz"),
        ("/a/PHOTO.JPG", "file.image.jpg"),
        ("/a/program", "file.other.none"),
        ("/a/strange.näme-1.5", "file.other.5"),
        ("/a/.hidden", "file.other.hidden"),
        ("/a/dot.", "file.other.none"),
        ("/a/" + "x" * 200 + "." + "y" * 50, "file.other." + "y" * 20),
    ],
)
def test_a_name_decides_the_routing_key(name: str, key: str) -> None:
    assert kinds.routing_key(name) == key
    assert len(key.split(".")) == 3, "the patterns have three words"


def test_k01_each_key_reaches_the_queue_of_its_kind_and_no_other() -> None:
    config = Path(kinds.__file__).with_name("amqtask.toml")
    topology = Topology.from_settings(load(config_file=str(config), environ={}))
    for kind in kinds.KINDS:
        assert queues_reached(topology, "files", f"file.{kind}.xyz") == frozenset({kind})
        assert topology.dead_letter_queue(kind) == f"{kind}.dlq"
    pools = tomllib.loads(config.read_text())["pools"]
    assert sorted(queue for pool in pools.values() for queue in pool["queues"]) == sorted(kinds.KINDS)


def test_a_walk_gives_every_file_once_in_order_and_follows_no_link_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two").touch()
    (tmp_path / "a").touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    assert list(walk(str(tmp_path))) == [f"{tmp_path}/{name}" for name in ("a", "nowhere", "b/two")]


def test_too_few_files_are_filled_up_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("doc", "more"):
        (tmp_path / folder).mkdir()
        for number in range(4):
            (tmp_path / folder / str(number)).touch()
    monkeypatch.setattr(run, "ENOUGH", 7)
    monkeypatch.setattr(run, "MORE", (str(tmp_path / "doc"), str(tmp_path / "more")))
    assert len(run.files_to_index(str(tmp_path / "doc"), fill=False)) == 4
    found = run.files_to_index(str(tmp_path / "doc"), fill=True)
    assert len(found) == len(set(found)) == 7
    assert "fewer than 7" in capsys.readouterr().out
