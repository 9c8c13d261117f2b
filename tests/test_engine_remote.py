"""The engine on another machine: a cluster of dask.distributed with one worker, through real sockets."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

import napari_probseg as ps
from engine_requests import Hang, Look, Process, Tell, asked
from napari_probseg.engine import images, relay, remote
from napari_probseg.engine.models import Model
from napari_probseg.engine.remote import Cluster
from napari_probseg.engine.requests import Complete
from napari_probseg.progress import Progress
from napari_probseg.proposers.completion import CutConfig


def local_cluster(n_workers: int):
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )


TRY = """
import json, os, sys, dask
from napari_probseg.engine import remote
dask.config.set(json.loads(sys.argv[2]))
remote.CONNECT_SECONDS = 5.0
try:
    print(remote.Cluster(sys.argv[1]).call(remote._version))
except ConnectionError as error:
    print(error)
sys.stdout.flush()
os._exit(0)
"""


def tried_elsewhere(address: str, configuration: dict[str, Any]) -> str:
    """Return what a process of this configuration of dask, as another machine is, hears from a cluster."""
    command = [sys.executable, "-c", TRY, address, json.dumps(configuration)]
    heard = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return heard.stdout.strip()


@pytest.fixture(scope="module")
def address():
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([before] if before else [])])
    with local_cluster(1) as cluster:
        yield cluster.scheduler_address
    os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def engine(address):
    cluster = Cluster(address)
    made = cluster.engine()
    yield made
    made.close()
    cluster.close()


@pytest.fixture
def case():
    mask = np.zeros((40, 50), bool)
    mask[10:14, 20:25] = True
    return ps.Case(np.random.default_rng(0).random((40, 50)).astype(np.float32)).mark(inside=mask)


def test_requests_are_answered_by_a_process_over_there(engine):
    result, told = asked(engine, Process())
    assert result == engine.pid != os.getpid() and told[-1] == Progress(1, 2, {"loss": 0.5})
    assert asked(engine, Tell(("a", "b"), 3)) == (3, ["a", "b"])


@pytest.mark.parametrize("most", [images.MAX_SENT_WHOLE, 0], ids=["whole", "by regions"])
def test_images_are_sent_and_no_file_of_this_machine_is_read(engine, case, monkeypatch, most):
    monkeypatch.setattr(images, "MAX_SENT_WHOLE", most)
    assert engine._images is None or not engine._images.folders
    (back, image, partial, *_), _ = asked(engine, Look(case))
    assert back is case and np.array_equal(image, case.read()) and np.array_equal(partial, case.partial)


def test_a_large_message_comes_whole(engine):
    result, _ = asked(engine, Tell((), np.arange(10**6)))
    assert np.array_equal(result, np.arange(10**6))


def test_errors_come_back_as_sentences(engine):
    with pytest.raises(TypeError, match="not iterable"):
        asked(engine, Tell(3))


def test_what_hangs_is_given_up_and_the_next_is_answered(engine, tmp_path):
    steps = engine.answering(Hang(str(tmp_path / "begun")))
    while not (tmp_path / "begun").exists():
        next(steps)
    steps.close()
    assert asked(engine, Tell((), 1))[0] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be killed by its number")
def test_a_process_that_dies_over_there_is_started_anew(engine, tmp_path):
    steps = engine.answering(Hang(str(tmp_path / "begun")))
    while not (tmp_path / "begun").exists():
        next(steps)
    os.kill(before := engine.pid, 9)  # amid a request: between two of them it costs neither
    with pytest.raises(RuntimeError, match="is started anew"):
        for _ in steps:
            pass
    assert asked(engine, Tell((), 2))[0] == 2 and engine.pid != before


def test_an_answer_from_there_is_the_one_from_here(engine, case):
    case = case.mark(outside=np.pad(np.ones((3, 50), bool), ((37, 0), (0, 0))))
    request = Complete(case, Model("intensities"), None, CutConfig(), (0, 1), "cpu")
    found, _ = asked(engine, request)
    here = ps.load_completer("intensities").complete(case).candidates(CutConfig())
    assert np.array_equal(found.candidates.patches, here.patches) and found.candidates.case is case


def test_a_process_whose_window_is_gone_is_ended(address, monkeypatch):
    monkeypatch.setattr(relay, "WATCH_SECONDS", 0.05)
    cluster = Cluster(address)
    made = cluster.engine()
    asked(made, Tell((), 1))
    (name,) = (name for name, one in relay._relays.items() if one.process.pid == made.pid)
    relay._relays[name].heard = -relay.MAX_SILENCE - 1
    end = time.monotonic() + 60
    while name in relay._relays:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert asked(made, Tell((), 1))[0] == 1, "another one is started"
    made.close()
    cluster.close()


def test_an_address_is_refused_unless_it_answers(monkeypatch, address):
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 1.0)
    for wrong in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(ConnectionError, match="nothing answers at"):
            Cluster(wrong)
    monkeypatch.setattr(remote, "_version", lambda: "0.0.1")
    with pytest.raises(ConnectionError, match=r"has napari-probseg 0\.0\.1, and not"):
        Cluster(address)


def test_a_connection_that_fails_is_closed_whole(monkeypatch):
    """One that was left to the garbage collector could lock up the next one, see `napari_probseg.engine.remote.Loop`."""
    from distributed import Client

    made = []
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 1.0)
    begun = Client.__init__
    monkeypatch.setattr(Client, "__init__", lambda self, *a, **k: made.append(self) or begun(self, *a, **k))
    before = set(threading.enumerate())
    for wrong in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(ConnectionError, match="nothing answers at"):
            Cluster(wrong)
    assert [client.status for client in made] == ["closed"] * 2
    assert set(threading.enumerate()) <= before


def test_what_does_not_answer_in_time_is_given_up(monkeypatch, address):
    cluster = Cluster(address)
    monkeypatch.setattr(remote, "ANSWER_SECONDS", 0.2)
    with pytest.raises(ConnectionError, match="does not answer any more"):
        cluster.call(time.sleep, 2)
    cluster.close()
    with pytest.raises(ConnectionError, match="does not answer any more"):
        cluster.call(remote._version)


def test_a_cluster_without_a_worker_is_refused():
    with local_cluster(0) as cluster, pytest.raises(ConnectionError, match="no worker has joined"):
        Cluster(cluster.scheduler_address)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl")
def test_over_tls_only_who_has_the_certificate_gets_answers(tmp_path):
    """As docs/elsewhere.md says it is started."""
    import dask
    from distributed import LocalCluster
    from distributed.security import Security

    key, certificate = (str(tmp_path / name) for name in ("key.pem", "cert.pem"))
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=probseg -keyout {key} -out {certificate}"
    subprocess.run(make.split(), check=True, capture_output=True)
    each = {part: {"key": key, "cert": certificate} for part in ("scheduler", "worker", "client")}
    known = {
        "distributed.comm.tls": {
            "ca-file": certificate,
            "ciphers": None,
            "min-version": 1.2,
            "max-version": None,
            **each,
        }
    }
    with dask.config.set(known):
        security = Security(require_encryption=True)
    with LocalCluster(
        n_workers=1,
        processes=False,
        protocol="tls://",
        security=security,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    ) as there:
        address = there.scheduler_address
        assert address.startswith("tls://")
        assert "name its certificates" in tried_elsewhere(address, {})
        assert tried_elsewhere(address, known) == ps.__version__
