"""Names, options for all and for single nodes, and paths of `amqtask multi`: from words to planned nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from amqtask.errors import SettingsError
from amqtask.node.multi.options import Option, Reader, Words, chosen_for, select
from amqtask.node.multi.plan import Folders, PlannedNode, default_folders, plan
from amqtask.pool.names import MAX_COUNT, NodeName, expand, node_names, path_values

HOST = "box.example.org"
FOLDERS = Folders(Path("/pids"), Path("/logs"))
OPTIONS = [
    Option("app", ("-A", "--app")),
    Option("config_file", ("--config",)),
    Option("queues", ("-Q", "--queues")),
    Option("concurrency", ("-c", "--concurrency")),
    Option("loglevel", ("-l", "--loglevel", "-L")),
    Option("logfile", ("-f", "--logfile")),
    Option("pidfile", ("--pidfile", "-p")),
    Option("beat", ("-B", "--beat"), takes_value=False),
    Option("hostname", ("-n", "--hostname"), refused="names are words"),
    Option("json", ("--json",), takes_value=False, own=True),
    Option("timeout", ("--timeout",), own=True),
]


def read(line: str) -> Words:
    return Reader(OPTIONS).read(line.split())


def planned(line: str) -> tuple[PlannedNode, ...]:
    words = read(line)
    names = node_names(words.names, host=HOST)
    return plan(names, chosen_for(names, words.given), FOLDERS)


def options_of(line: str) -> dict[str, tuple[str, ...]]:
    return {node.name.short: node.options for node in planned(line)}


# -- names -------------------------------------------------------------------------------------------------------------


def test_s43_names_get_this_host_and_expand_its_parts() -> None:
    words = ["w1", "w2@%h", "w3@%d", "w4@other", "w5-%n"]
    assert [str(name) for name in node_names(words, host=HOST)] == [
        "w1@box.example.org",
        "w2@box.example.org",
        "w3@example.org",
        "w4@other",
        "w5-box@box.example.org",
    ]


def test_s54_a_count_names_that_many_nodes() -> None:
    assert [name.short for name in node_names(["3"], host=HOST)] == ["amqtask1", "amqtask2", "amqtask3"]
    assert [name.short for name in node_names(["3", "w"], host=HOST)] == ["3", "w"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "name the nodes"),
        (["0"], "1 to"),
        ([str(MAX_COUNT + 1)], "1 to"),
        (["w1", "w2", "w1"], "w1@box.example.org is named twice"),
        (["w1", "w1@%h"], "named twice"),
        (["a/b"], "begins with a letter"),
        (["../w"], "begins with a letter"),
        ([".w"], "begins with a letter"),
        (["w1@"], "host name"),
        (["w1@a@b"], "host name"),
        (["w1@a/b"], "host name"),
        (["w%x"], "%x in 'w%x' means nothing here"),
        (["w%"], "means nothing here"),
        (["w%%"], "begins with a letter"),
        (["w\n"], "begins with a letter"),
    ],
)
def test_c22_a_bad_node_name_is_an_error(words: list[str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        node_names(words, host=HOST)


def test_s43_a_percent_sign_is_written_twice() -> None:
    assert expand("%%h-%h%%", {"h": "x"}, where="here") == "%h-x%"


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "w1 w2 -c 4",
        "w1 -c4 w2",
        "-c=4 w1 w2".replace("-c=4", "--concurrency=4"),
        "w1 --concurrency 4 w2",
        "w1 w2 -c:1,2 4",
        "w1 w2 -c:1-2 4",
        "w1 w2 -c:w1 4 -c:w2=4",
        "w1 w2 --concurrency:1=4 --concurrency:w2 4",
        "w1 w2 --concurrency:w1,w2@box.example.org=4",
        "w1 w2 -c:1 9 -c:1-2 4",
        "w1 w2 -c:1,2 4 -c 9",
        "w1 w2 -c:1,2 4 --concurrency=9",
    ],
)
def test_s54_options_for_all_and_for_single_nodes(line: str) -> None:
    assert options_of(line) == {"w1": ("--concurrency=4",), "w2": ("--concurrency=4",)}


def test_c22_s54_the_line_that_users_know_works() -> None:
    line = "10 -A proj -l INFO -Q:1-3 images,video -Q:4,5 data -Q default -L:4,5 debug"
    options = options_of(line)
    assert len(options) == 10
    for number in range(1, 11):
        queues = "images,video" if number <= 3 else "data" if number <= 5 else "default"
        level = "debug" if number in (4, 5) else "INFO"
        assert options[f"amqtask{number}"] == ("--app=proj", f"--loglevel={level}", f"--queues={queues}")


def test_c22_names_work_as_selectors_when_nodes_are_a_count() -> None:
    options = options_of("3 -c:amqtask2 4 -B:amqtask1,3")
    assert options == {
        "amqtask1": ("--beat",),
        "amqtask2": ("--concurrency=4",),
        "amqtask3": ("--beat",),
    }


def test_k20_a_node_may_be_called_like_a_range() -> None:
    names = node_names(["w0", "2-3", "w3"], host=HOST)
    assert select("2-3", names, where="-c") == [1]
    assert select("1-3", names, where="-c") == [0, 1, 2]
    assert select("w3,1,w3", names, where="-c") == [2, 0]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("3 -c:worker2 4", r"-c:worker2: no node is called 'worker2' \(nodes: amqtask1, amqtask2, amqtask3\)"),
        ("3 -c:amqtask7 4", "-c:amqtask7: no node is called 'amqtask7'; did you mean 'amqtask"),
        ("3 -c:4 4", "-c:4: '4' are not places of nodes; there are 3"),
        ("3 -c:1-4 4", "-c:1-4: '1-4' are not places"),
        ("3 -c:0 4", "-c:0: '0' are not places"),
        ("3 -c:3-1 4", "-c:3-1: '3-1' are not places"),
        ("w1 -c:1,2 4", "there is 1, counted"),
        ("w1 -c:1, 4", "-c:1,: no node is called ''"),
        ("w1 -c: 4", "behind the colon"),
        ("w1 --concurrency:=4", "behind the colon"),
        ("w1 w2 -c:", "behind the colon"),
        ("2 w -c:2 1", "name of one node and the place of another"),
        ("3 -Ofair:amqtask1", "there is no option '-O'"),
        ("3 --concurency:1=4", "--concurency:1=4: there is no option '--concurency'; did you mean '--concurrency'"),
        ("3 -c", "-c: needs a value"),
        ("3 -c -Q a", "-c: needs a value, and '-Q' is the next option"),
        ("3 -c:1 --json", "-c:1: needs a value"),
        ("3 --beat=1", "--beat: takes no value"),
        ("3 -Ba", "-B: takes no value"),
        ("3 -n x", "-n: names are words"),
        ("3 -n:1 x", "-n:1: names are words"),
        ("3 --json:1", "--json:1: is an option of multi itself"),
        ("3 -Q a, b", "-Q: 'a,' ends in a comma"),
        ("3 -- -c 4", "--: says nothing here"),
    ],
)
def test_c22_every_option_is_checked_and_named(line: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        options_of(line)


def test_s54_multis_own_options_stay_with_multi() -> None:
    words = read("w1 --timeout 5 --json")
    assert words.own == {"timeout": "5", "json": None}
    assert words.given == ()
    assert read("w1 --timeout=7").own == {"timeout": "7"}


def test_k20_a_value_may_begin_with_a_dash_or_hold_an_equals_sign() -> None:
    assert options_of("w1 -c -4 --app:w1=a=b") == {"w1": ("--concurrency=-4", "--app=a=b")}


# -- paths -------------------------------------------------------------------------------------------------------------


def test_s43_paths_expand_per_node() -> None:
    first, second = planned("w1 w2@a.b --pidfile=/p/%n@%h.pid -f /l/%n%I-%i-%d.log --config:2=/c/%n.toml")
    assert first.pidfile == Path("/p/w1@box.example.org.pid")
    assert first.logfile == Path("/l/w1--example.org.log")
    assert second.pidfile == Path("/p/w2@a.b.pid")
    assert second.logfile == Path("/l/w2--b.log")
    assert second.arguments == (
        "--hostname=w2@a.b",
        "--config=/c/w2.toml",
        "--pidfile=/p/w2@a.b.pid",
        "--logfile=/l/w2--b.log",
    )
    assert first.options == ()


def test_s43_paths_have_defaults_and_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/u")
    (node,) = planned("w1")
    assert (node.pidfile, node.logfile) == (Path("/pids/w1.pid"), Path("/logs/w1.log"))
    (node,) = planned("w1 --pidfile=%n.pid --logfile=~/%n.log")
    assert (node.pidfile, node.logfile) == (tmp_path / "w1.pid", Path("/home/u/w1.log"))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("w1 w2 --pidfile=/p/all.pid", "--pidfile: .*share the pid file /p/all.pid"),
        ("w1 w2 --logfile=/p/all.log", "--logfile: .*share the log file"),
        ("w1@a w1@b", "--pidfile: w1@a and w1@b would share the pid file /pids/w1.pid"),
        ("w1 w2 --pidfile:2=/p/%z.pid", "--pidfile:2: %z in '/p/%z.pid' means nothing here; there are %n, %h, %d"),
    ],
)
def test_s43_c22_paths_are_the_nodes_own(line: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        planned(line)


def test_s43_default_folders() -> None:
    assert default_folders({}, root=True) == Folders(Path("/run/amqtask"), Path("/var/log/amqtask"))
    state = default_folders({"XDG_STATE_HOME": "/s"}, root=False)
    assert state == Folders(Path("/s/amqtask"), Path("/s/amqtask"))
    relative = default_folders({"XDG_STATE_HOME": "s"}, root=False)
    assert relative.pid == Path("~/.local/state/amqtask").expanduser()


def test_s43_signs_of_a_path() -> None:
    assert path_values(NodeName("w", "a.b.c", 1)) == {"n": "w", "h": "a.b.c", "d": "b.c", "i": "", "I": ""}
