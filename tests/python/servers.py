"""Servers of a test's own: a tilekv-server or a redis-server with its data in a folder, on a port
that is free, watched and ended by its process id."""

import os
import pathlib
import socket
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0


class TileKVServer:
    """A tilekv-server process. ``TILEKV_TEST_SERVER`` names the binary; without it, the one that
    the tests build is built."""

    def __init__(self, folder, *flags):
        self.folder = pathlib.Path(folder)
        self.flags = [str(flag) for flag in flags]
        self.port = 0
        self._process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        """Starts the server, on the port it had before if it had one."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TILEKV_")}
        command = [str(server_binary()), "--port", str(self.port), "--http-port", "0"]
        command += ["--data-dir", str(self.folder / "data"), *self.flags]
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        for line in self._process.stdout:
            words = line.split()
            if words[:1] == ["clients"]:
                self.port = int(words[1].rpartition(":")[2])
            if words[:1] == ["page"]:
                break
        else:
            log = (self.folder / "server.log").read_text()
            raise RuntimeError(f"{command} did not start:\n{log}")
        threading.Thread(target=self._process.stdout.read, daemon=True).start()
        wait_for_port(self.port)
        return self

    def kill(self):
        """Ends the server as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_S)
            self._process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()


class RedisServer:
    """A redis-server process that keeps nothing on disk."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.port = free_port()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for_port(self.port)
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(DEADLINE_S)


def server_binary():
    named = os.environ.get("TILEKV_TEST_SERVER")
    if named:
        return pathlib.Path(named).resolve()
    command = ["cargo", "build", "--profile", "checked", "--locked", "--quiet"]
    subprocess.run([*command, "-p", "tilekv-server"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "checked" / "tilekv-server"


def wait_for_port(port):
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if end < time.monotonic():
                raise
            time.sleep(0.01)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
