"""A redis-server on a unix socket, as a context that leaves nothing behind."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

START_LIMIT_S = 10
COMMAND_LIMIT_S = 240    # a script that fills 2 GB takes half a minute

# Values of 16 to 1,300 bytes, most of them short; the same in every run.
FILL = """
redis.call('FLUSHALL')
for i = 1, tonumber(ARGV[1]) do
  local n = (i * 7919) % 1021
  redis.call('SET', 'key:' .. i, string.rep('v', 16 + (n < 700 and n % 240 or n + 280)))
end
"""
# Which keys go: the oldest, or as many scattered over all pages.
DROP = """
local count, scattered = tonumber(ARGV[1]), ARGV[2] == 'scattered'
for i = 1, count do
  if scattered and (i * 7919) % 1009 >= 101 or not scattered and i <= count * 0.9 then
    redis.call('DEL', 'key:' .. i)
  end
end
return redis.call('DBSIZE')
"""


class RedisError(Exception):
    """The server did not start or did not answer."""


class RedisServer:
    """with RedisServer(words, env) as server: `words` go before the command."""

    def __init__(self, words=(), env=None):
        self.words = list(words)
        self.env = env
        self.process = None
        self.connection = None
        self.folder = tempfile.mkdtemp(prefix="bench-redis-")
        self.socket_path = os.path.join(self.folder, "socket")

    def __enter__(self):
        options = ["--port", "0", "--unixsocket", self.socket_path, "--save", "",
                   "--appendonly", "no", "--daemonize", "no", "--dir", self.folder]
        try:
            self.process = subprocess.Popen(
                [*self.words, "redis-server", *options], env=self.env,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self._connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.connection is not None:
            self.connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _connect(self):
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RedisError(f"redis-server ended with status {self.process.returncode}")
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                link.connect(self.socket_path)
            except OSError:
                link.close()
                time.sleep(0.005)
                continue
            link.settimeout(COMMAND_LIMIT_S)
            self.connection = link
            if self.command("PING") == "+PONG":
                return
        raise RedisError("redis-server does not answer")

    def command(self, *words):
        """Send one command; return the first line of the answer."""
        encoded = [str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(encoded)]
        parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
        self.connection.sendall(b"".join(parts))
        answer = b""
        while not answer.endswith(b"\r\n"):
            received = self.connection.recv(65536)
            if not received:
                raise RedisError("redis-server closed the connection")
            answer += received
        line = answer.split(b"\r\n", 1)[0].decode(errors="replace")
        if line.startswith("-"):
            raise RedisError(line[1:])
        return line

    def benchmark(self, *words):
        """Run redis-benchmark against the server; return requests per second."""
        done = subprocess.run(["redis-benchmark", "-s", self.socket_path, "--csv", *words],
                              text=True, capture_output=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
        if done.returncode != 0 or len(lines) < 2:
            raise RedisError(f"redis-benchmark failed: {(done.stderr or done.stdout).strip()}")
        return float(lines[-1].split(",")[1].strip('"'))

    def memory_kib(self, field):
        """VmRSS or VmHWM of the server."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        return 0

    def shutdown(self):
        """Let the server end by itself, so that the launcher can account for it."""
        try:
            self.command("SHUTDOWN", "NOSAVE")
        except (RedisError, OSError):
            pass
        self.process.wait(timeout=10)
