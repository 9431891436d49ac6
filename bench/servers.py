"""memcached and nginx on a unix socket, as contexts that leave nothing behind."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

import measure

START_LIMIT_S = 10
CONNECTION_COUNT = 64

NGINX = """
daemon off; master_process off; error_log stderr crit; pid {folder}/pid;
events {{ worker_connections 1024; }}
http {{
  access_log off; gzip on; gzip_types *; gzip_http_version 1.0; gzip_comp_level 1;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen unix:{socket}; root {folder}; }}
}}
"""


class ServerError(Exception):
    """The server did not start, or its load failed."""


class SocketServer:
    """with Memcached(words) as server: `words` go before the command."""
    binary = ""
    protocol = ""

    def __init__(self, words):
        self.words = list(words)
        self.process = None
        self.folder = tempfile.mkdtemp(prefix="bench-server-")
        self.socket_path = os.path.join(self.folder, "socket")

    def command(self):
        """The words that start the server."""
        raise NotImplementedError

    def __enter__(self):
        try:
            self.process = subprocess.Popen(
                [*self.words, *self.command()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self._await()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error):
        if self.process is not None and self.process.poll() is None:
            measure.terminate(self.process)
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _await(self):
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ServerError(f"{self.binary} ended with status {self.process.returncode}")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                try:
                    link.connect(self.socket_path)
                    return
                except OSError:
                    time.sleep(0.005)
        raise ServerError(f"{self.binary} does not answer")

    def load(self, request_count):
        """So many requests in a closed loop."""
        done = subprocess.run(
            [str(measure.BIN_DIR / "load"), self.protocol, self.socket_path,
             str(CONNECTION_COUNT), str(request_count)],
            text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise ServerError(done.stderr.strip() or f"load: status {done.returncode}")

    def shutdown(self):
        """Let the server end by itself, so that the launcher can account for it."""
        measure.terminate(self.process)
        self.process.wait(timeout=10)


class Memcached(SocketServer):
    """Two threads, 128 MiB of items, then it evicts."""
    binary = "memcached"
    protocol = "memcached"

    def command(self):
        return ["memcached", "-s", self.socket_path, "-u", "root", "-m", "128", "-t", "2",
                "-c", "1000"]


class Nginx(SocketServer):
    """One process that compresses a page of 4 KB for each request."""
    binary = "nginx"
    protocol = "http"

    def command(self):
        with open(os.path.join(self.folder, "page.txt"), "w", encoding="ascii") as page:
            page.writelines(f"line {i}: {i * 7919 % 104729} bottles of {i * 31 % 97}\n"
                            for i in range(120))
        config = os.path.join(self.folder, "nginx.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(NGINX.format(folder=self.folder, socket=self.socket_path))
        return [shutil.which("nginx") or "/usr/sbin/nginx", "-p", self.folder, "-c", config]
