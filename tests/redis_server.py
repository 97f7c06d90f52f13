"""The Redis that tests run against: one server for the whole run, and others of their own for tests that meddle.

What tests say on the shared server is kept apart by the prefix of their channels. Nothing is stored on disk but what a
node of a cluster knows of it, so that it comes back as what it was.
"""

import atexit
import contextlib
import functools
import operator
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

START_SECONDS = 30.0
SLOTS = 16384
# Below the range from which systems take the ports of outgoing connections: one that tries to reach a server which is
# down just now must not get its port, and so reach itself.
_PORTS = range(20_000, 32_000)

Client = redis.Redis


@functools.cache
def server_url() -> str:
    """Return the URL of the run's server, starting it if this is the first call."""
    server = RedisProcess()
    server.start()
    atexit.register(server.close)
    return server.url


class RedisProcess:
    """A Redis on one port; each start is another process on it.

    Args:
        options: Of `redis-server`, such as `--requirepass secret`.
        in_cluster: Whether it is a node of a cluster. It serves no slot until it is told to.
        tls: Its private key and its certificate; then it speaks TLS and nothing else.

    Attributes:
        port: Where it listens on 127.0.0.1.
    """

    def __init__(self, *options: str, in_cluster: bool = False, tls: tuple[Path, Path] | None = None) -> None:
        self._options = options
        self._in_cluster = in_cluster
        self._tls = tls
        self._folder = tempfile.TemporaryDirectory(prefix="coordinator-redis-")
        self._process: subprocess.Popen[str] | None = None
        self._output: list[str] = []
        self._has_run = False
        self.port = _free_port()
        self.bus_port = _free_port()

    @property
    def url(self) -> str:
        """Its URL, without a password and without certificates."""
        return f"{'redis' if self._tls is None else 'rediss'}://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """What it has printed since it was started."""
        return "".join(self._output)

    def start(self) -> None:
        """Start it, and wait until it accepts connections. Once it has run, the port remains the same."""
        assert self._process is None, "it is running already"
        while not self._launch():
            assert "in use" in self.output, f"redis-server did not start: {self.output}"
            assert not self._has_run, f"another process has taken the port {self.port}"
            self.port, self.bus_port = _free_port(), _free_port()
        self._has_run = True

    def stop(self) -> None:
        """Stop it as a service manager does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def suspend(self) -> None:
        """Let it stand still: connections remain open, and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Leave nothing of it; harmless to repeat."""
        if self._process is not None:
            self.kill()
        self._folder.cleanup()

    @contextmanager
    def client(self, **options: Any) -> Iterator[Client]:
        """Connect to it through the driver alone, as a foreign tool does."""
        opened = Client(host="127.0.0.1", port=self.port, **options)
        try:
            yield opened
        finally:
            opened.close()

    def _launch(self) -> bool:
        options = [*self._options]
        if self._in_cluster:
            options += ["--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)]
            # A replica is known to the others once it has followed for a moment.
            options += ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]
        if self._tls is None:
            options += ["--port", str(self.port)]
        else:
            key, certificate = map(str, self._tls)
            options += ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            options += ["--tls-key-file", key, "--tls-cert-file", certificate, "--tls-ca-cert-file", certificate]
        self._output = []
        self._process = subprocess.Popen(
            [
                *("redis-server", "--bind", "127.0.0.1", "--dir", self._folder.name),
                *("--save", "", "--appendonly", "no", *options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for the test run; this one ends when the run has ended
        )
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process, ready), daemon=True)
        self._reader.start()
        assert ready.wait(START_SECONDS), f"redis-server is not ready after {START_SECONDS:g} s: {self.output}"
        if "Ready to accept connections" in self.output:
            return True
        self._end(signal.SIGKILL)
        return False

    def _read(self, process: "subprocess.Popen[str]", ready: threading.Event) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._output.append(line)
                if "Ready to accept connections" in line:
                    ready.set()
        ready.set()  # it has ended, which is all that there will be to say

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None, "it is not running"
        self._process.send_signal(how)
        self._process.wait(START_SECONDS)
        self._reader.join(START_SECONDS)
        self._process = None


@contextmanager
def redis_process(*options: str, tls: tuple[Path, Path] | None = None) -> Iterator[RedisProcess]:
    """Run a server for the time of a test; see `RedisProcess`."""
    with contextlib.closing(RedisProcess(*options, tls=tls)) as server:
        server.start()
        yield server


@contextmanager
def redis_cluster(masters: int = 1, replicas: int = 0) -> Iterator[list[RedisProcess]]:
    """Run a cluster for the time of a test.

    Args:
        masters: How many nodes serve slots; these are divided among them in order.
        replicas: How many nodes follow the first one; they come last.
    """
    with contextlib.ExitStack() as stack:
        nodes: list[RedisProcess] = []
        for number in range(masters + replicas):
            nodes.append(stack.enter_context(contextlib.closing(RedisProcess(in_cluster=True))))
            nodes[-1].start()
            with nodes[-1].client() as client:
                order(client, "CLUSTER SET-CONFIG-EPOCH", number + 1)
                if number < masters:
                    first, last = SLOTS * number // masters, SLOTS * (number + 1) // masters - 1
                    order(client, "CLUSTER ADDSLOTSRANGE", first, last)
                if number > 0:
                    order(client, "CLUSTER MEET", "127.0.0.1", nodes[0].port, nodes[0].bus_port)
        _wait_until(nodes, lambda shards: len(shards) == masters)
        if replicas:
            with nodes[0].client() as client:
                name = order(client, "CLUSTER MYID")
            for node in nodes[masters:]:
                with node.client() as client:
                    order(client, "CLUSTER REPLICATE", name)
            _wait_until(nodes, lambda shards: len(shards[0]) == 3 + replicas)
        yield nodes


def order(client: Client, command: str, *words: str | int) -> Any:
    """Send a command for which the driver has no method of its own."""
    return client.execute_command(command, *words)  # type: ignore[no-untyped-call]


def _wait_until(nodes: Sequence[RedisProcess], agreed: Callable[[list[Any]], bool]) -> None:
    """Wait until each node's answer to CLUSTER SLOTS, in order, is so."""
    deadline = time.monotonic() + START_SECONDS
    for node in nodes:
        with node.client() as client:
            while not agreed(sorted(order(client, "CLUSTER SLOTS"), key=operator.itemgetter(0))):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the nodes of the cluster do not know each other after {START_SECONDS:g} s")
                time.sleep(0.01)  # there is nothing to wait for: it is gossip


def _free_port() -> int:
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
