"""amqps means verified: the authority, the host name, and nothing sent before both are right."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from amqtask.errors import ConnectionLost
from tests.conftest import OwnBroker
from tests.support.publishing import message, publishing
from tests.support.rabbit import Rabbits
from tests.support.raw import Raw
from tests.support.sandbox import Sandbox


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def certificates(folder: Path) -> None:
    """An authority and a certificate for `localhost`, signed by it."""
    for name, subject in (("ca", "/CN=test authority"), ("server", "/CN=server")):
        openssl("genrsa", "-out", str(folder / f"{name}.key"), "2048")
        openssl(
            "req", "-new", "-key", str(folder / f"{name}.key"), "-subj", subject, "-out", str(folder / f"{name}.csr")
        )
    (folder / "ca.ext").write_text(
        "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\nsubjectKeyIdentifier=hash\n"
    )
    (folder / "server.ext").write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n")
    common = ["x509", "-req", "-days", "2", "-sha256"]
    ca = str(folder / "ca.pem")
    openssl(*common, "-in", str(folder / "ca.csr"), "-signkey", str(folder / "ca.key"),
            "-extfile", str(folder / "ca.ext"), "-out", ca)  # fmt: skip
    openssl(*common, "-in", str(folder / "server.csr"), "-CA", ca, "-CAkey", str(folder / "ca.key"), "-CAcreateserial",
            "-extfile", str(folder / "server.ext"), "-out", str(folder / "server.pem"))  # fmt: skip
    (folder / "server.key").chmod(0o644)  # the broker may run as another user


def test_k10_tls_is_verified_by_default(
    own_broker: OwnBroker, sandbox: Sandbox, rabbits: Rabbits, broker_version: str
) -> None:
    root = rabbits._roots.find(broker_version)  # a node that lives in a folder of its own sees nothing else
    folder = sandbox.folder("tls", parent=root / "var/tmp")
    folder.chmod(0o755)
    inside = Path("/") / folder.relative_to(root)
    certificates(folder)
    port = sandbox.port()
    node = own_broker(
        conf=[
            f"listeners.ssl.default = 127.0.0.1:{port}",
            f"ssl_options.cacertfile = {inside}/ca.pem",
            f"ssl_options.certfile = {inside}/server.pem",
            f"ssl_options.keyfile = {inside}/server.key",
        ]
    )
    with Raw(node.add_vhost("tls")) as raw:
        raw.declare_queue("q")
        with publishing(f"amqps://localhost:{port}/tls?cacertfile={folder}/ca.pem") as publisher:
            publisher.publish(message(b"x" * 300_000), exchange="", routing_key="q").result()
        for wrong, says in (
            (f"amqps://localhost:{port}/tls", "certificate"),  # an authority that nobody knows
            (f"amqps://127.0.0.1:{port}/tls?cacertfile={folder}/ca.pem", "certificate"),  # another name
        ):
            with publishing(wrong) as publisher, pytest.raises(ConnectionLost, match=says):
                publisher.publish(message(), exchange="", routing_key="q", retry=False).result()
        with publishing(f"amqps://127.0.0.1:{port}/tls?verify=verify_none") as publisher:
            publisher.publish(message(), exchange="", routing_key="q").result()
        assert raw.count("q") == 2
