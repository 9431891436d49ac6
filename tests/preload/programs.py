"""programs.py - real programs on the library do what they do without, and say nothing."""
import gzip
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "life"))
import driver  # noqa: E402
from driver import clean, demand, folder, need, run, same  # noqa: E402


def lines_of_words(count, seed=1):
    """Text that is the same at each run."""
    source = random.Random(seed)
    words = ["".join(source.choice("abcdefghij") for _ in range(source.randint(2, 9)))
             for _ in range(500)]
    return "".join(" ".join(source.choices(words, k=8)) + "\n" for _ in range(count))


def case_the_library_is_in_the_process():
    done = run([need("grep"), "-c", os.path.basename(driver.LIBRARY).split(".so")[0],
                "/proc/self/maps"])
    demand(done.returncode == 0 and int(done.stdout) > 0, driver.describe(done))
    demand(done.stderr == "", driver.describe(done))


def case_small_commands_keep_stderr_empty():
    for command in (["true"], ["ls", "/"], ["cat", "/etc/passwd"], ["date", "-u", "-d", "@0"],
                    ["id", "-u"], ["env", "-i", "true"], ["seq", "10000"], ["uname"],
                    ["stat", "-c", "%n", "/"], ["du", "-s", "/etc/hostname"],
                    ["expr", "6", "*", "7"]):
        same([need(command[0])] + command[1:])


PYTHON = r"""
import json, threading, subprocess, sys, hashlib, collections, queue, gc, sqlite3, re, zlib
data = [{"id": i, "name": "n%d" % i, "tags": ["t%d" % j for j in range(i % 9)]} for i in range(20000)]
text = json.dumps(data, sort_keys=True)
assert json.loads(text) == data
print(hashlib.sha256(text.encode()).hexdigest())
work, results = queue.Queue(), collections.Counter()
lock = threading.Lock()
def body():
    while (item := work.get()) is not None:
        value = "".join(str(item * k) for k in range(300))
        with lock:
            results[len(value)] += 1
threads = [threading.Thread(target=body) for _ in range(6)]
[t.start() for t in threads]
[work.put(i) for i in range(3000)]
[work.put(None) for t in threads]
[t.join() for t in threads]
print(sorted(results.items())[:5], sum(results.values()))
for i in range(10):
    print(subprocess.run([sys.executable, "-c", "print(sum(len(str(i)) for i in range(50000)))"],
                         capture_output=True, text=True, check=True).stdout.strip())
print(len(zlib.compress(text.encode())))
print(len(re.findall(r"n\d+5", text)))
d = {i: [str(i)] * (i % 20) for i in range(200000)}
del d; gc.collect()
print(b"x".join([b"abc"] * 1000000)[-1])
"""


def case_python_runs_json_threads_and_subprocesses():
    same([need("python3"), "-c", PYTHON])


def case_python_forks_workers():
    script = ("import multiprocessing as m\n"
              "def f(n): return sum(len(str(i)) for i in range(n * 1000))\n"
              "if __name__ == '__main__':\n"
              "    m.set_start_method('fork')\n"
              "    with m.Pool(4) as p: print(p.map(f, range(40)))\n")
    same([need("python3"), "-c", script])


def case_python_passes_its_own_tests():
    for python in (need("python3"), shutil.which("python3")):
        if run([python, "-c", "import test.test_dict"], preloaded=False).returncode == 0:
            break
    else:
        raise driver.Skipped("this python3 comes without its tests")
    done = run([python, "-m", "unittest", "-q", "test.test_dict", "test.test_set", "test.test_list",
                "test.test_heapq", "test.test_deque", "test.test_memoryview", "test.test_thread"])
    demand(done.returncode == 0 and re.search(r"^OK", done.stderr, re.M), driver.describe(done))
    demand("allot" not in done.stderr, driver.describe(done))


PERL = r"""
my %count; my @rows;
for my $i (1 .. 200000) { my $key = "k" . ($i * 7919 % 50021); $count{$key} .= "x" x ($i % 5); push @rows, $key if $i % 3 == 0; }
print scalar(keys %count), " ", length(join ",", sort @rows), "\n";
my $text = join " ", map { "word$_" } 1 .. 50000;
my $found = () = $text =~ /\bword\d*7\b/g; print "$found\n";
undef %count; @rows = ();
for my $n (1 .. 5) { my $pid = fork; if (!$pid) { my @a = map { $_ x 50 } 1 .. 20000; exit(@a == 20000 ? 0 : 1) } waitpid $pid, 0; print "$?\n"; }
print length(`echo child`), "\n";
"""


def case_perl_sorts_matches_and_forks():
    same([need("perl"), "-e", PERL])


def git_repository(preloaded, directory):
    """Commits 200 files and packs them; returns what git says about the result."""
    git = need("git")
    fixed = dict(GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="a",
                 GIT_COMMITTER_EMAIL="a@b", GIT_AUTHOR_DATE="2001-01-01T00:00:00Z",
                 GIT_COMMITTER_DATE="2001-01-01T00:00:00Z", GIT_CONFIG_GLOBAL="/dev/null",
                 GIT_CONFIG_NOSYSTEM="1")

    def call(*arguments):
        return clean(run([git, *arguments], preloaded=preloaded, directory=directory, **fixed))

    call("init", "-q", "-b", "main")
    for i in range(200):
        with open(os.path.join(directory, f"file{i}.txt"), "w", encoding="ascii") as file:
            file.write(lines_of_words(20 + i, seed=i))
    call("add", ".")
    call("commit", "-q", "-m", "all")
    for i in range(0, 200, 3):
        with open(os.path.join(directory, f"file{i}.txt"), "a", encoding="ascii") as file:
            file.write("more\n")
    call("commit", "-q", "-a", "-m", "more")
    call("gc", "-q")
    call("fsck", "--no-progress", "--strict")
    return (call("rev-parse", "HEAD") + call("log", "--stat", "--format=%H %s") +
            call("count-objects"))


def case_git_makes_the_same_repository():
    with folder() as one, folder() as other:
        demand(git_repository(False, one) == git_repository(True, other), "the results differ")


def large_source():
    """C with many functions, switch tables and constants."""
    source = random.Random(7)
    parts = ["#include <stdio.h>\n#include <string.h>\n"]
    for i in range(250):
        cases = "".join(f"    case {j}: a = a * {source.randint(2, 99)} + b[{j}]; break;\n"
                        for j in range(12))
        parts.append(f"static long f{i}(long a, const long *b)\n{{\n    for (int k = 0; k < 9; k++) {{\n"
                     f"    switch ((a + k) & 15) {{\n{cases}    default: a ^= {source.randint(1, 9999)};"
                     f"\n    }}\n    }}\n    return a;\n}}\n")
    calls = "".join(f"    x = f{i}(x, b);\n" for i in range(250))
    parts.append(f"int main(void)\n{{\n    long b[16] = {{1, 2, 3}}, x = 1;\n{calls}"
                 "    printf(\"%ld\\n\", x);\n    return 0;\n}\n")
    return "".join(parts)


def case_gcc_compiles_a_large_file_to_the_same_code():
    with folder() as place:
        path = os.path.join(place, "large.c")
        with open(path, "w", encoding="ascii") as file:
            file.write(large_source())
        assembly = same([need("gcc"), "-O1", "-S", "-o", "-", path])
        demand(len(assembly) > 50000, f"only {len(assembly)} bytes of assembly")


def case_a_cxx_program_is_compiled_and_runs():
    text = ("#include <map>\n#include <string>\n#include <thread>\n#include <vector>\n#include <iostream>\n"
            "#include <memory>\n#include <functional>\n"
            "int main() { std::map<std::string, std::vector<std::shared_ptr<std::string>>> m;\n"
            "for (int i = 0; i < 200000; i++) m[std::to_string(i % 5000)].push_back("
            "std::make_shared<std::string>(std::string(i % 70, 'x')));\n"
            "size_t n = 0; std::vector<std::thread> t; std::vector<size_t> r(4);\n"
            "for (int k = 0; k < 4; k++) t.emplace_back([&, k] { for (auto &[a, b] : m) for (auto &s : b)"
            " r[k] += std::string(*s + a).size(); });\n"
            "for (auto &x : t) x.join(); for (auto x : r) n += x; std::cout << n << std::endl;\n"
            "try { std::vector<char> v(size_t(1) << 60); } catch (const std::bad_alloc &) {"
            " std::cout << \"bad_alloc\\n\"; } }\n")
    compiler = need("g++")
    with folder() as place:
        path = os.path.join(place, "program.cc")
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        clean(run([compiler, "-std=c++17", "-O1", "-pthread", "-o", path + ".out", path]))
        demand("bad_alloc" in same([path + ".out"]), "no bad_alloc")


def case_sqlite_answers_alike():
    script = ("create table t(a integer primary key, b text, c real);\n"
              "with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)\n"
              "insert into t select i, hex(i * 7919 % 100003) || printf('%0*d', i % 50, i), i / 3.0 from n;\n"
              "create index ib on t(b);\nselect count(*), sum(length(b)), min(b), max(b) from t;\n"
              "select substr(b, 1, 2) k, count(*), group_concat(a) from t group by k order by k limit 3;\n"
              "delete from t where a % 3 = 0;\nvacuum;\nselect total(c), count(distinct b) from t;\n"
              "select x.a, y.b from t x join t y on x.a = y.a + 1 where x.a < 500 order by y.b limit 20;\n")
    same([need("sqlite3"), ":memory:"], text_in=script)


NODE = r"""
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const zlib = require('zlib'), crypto = require('crypto');
function churn(seed) {
  let h = crypto.createHash('sha1');
  for (let r = 0; r < 30; r++) {
    const a = []; for (let i = 0; i < 3000; i++) a.push({ i, s: 'x'.repeat(i % 40), n: [seed, r, i] });
    const t = JSON.stringify(a); h.update(t); if (JSON.parse(t).length !== 3000) throw 1;
    h.update(zlib.inflateSync(zlib.deflateSync(Buffer.from(t))));
  }
  return h.digest('hex');
}
if (isMainThread) {
  console.log(churn(0));
  Promise.all([1, 2, 3].map(s => new Promise((y, n) => { const w = new Worker(__filename, { workerData: s });
    w.on('message', y); w.on('error', n); }))).then(r => console.log(r.join('\n')));
} else parentPort.postMessage(churn(workerData));
"""


def case_node_churns_json_in_worker_threads():
    node = need("node")
    with folder() as place:
        path = os.path.join(place, "churn.js")
        with open(path, "w", encoding="ascii") as file:
            file.write(NODE)
        same([node, path])


def case_bash_scripts_behave_alike():
    script = (r"""declare -A map; for ((i = 0; i < 5000; i++)); do map[k$((i % 700))]+=$i; done
echo ${#map[@]} ${#map[k7]}; list=($(seq 1 5000)); echo ${list[@]: -3}; text=$(printf 'x%.0s' {1..20000})
echo ${#text} ${text//x/yy} | md5sum; for i in {1..40}; do (echo $((i * i))); done | sort -n | tail -2
while read -r a b; do sum=$((sum + a)); done < <(seq 1 2000); echo $sum
f() { local n=$1; ((n > 0)) && f $((n - 1)); echo -n .; }; f 100; echo; diff <(seq 100) <(seq 100) && echo alike
trap 'echo done' EXIT; cat <<END | tr a-z A-Z
here ${map[k1]:0:10}
END
""")
    same([need("bash"), "-c", script])


def case_lua_collects_alike():
    script = ("local t = {} for r = 1, 20 do for i = 1, 20000 do t[i] = {i, tostring(i) .. ('x'):rep(i % 30)} end "
              "collectgarbage() end local n = 0 for i, v in ipairs(t) do n = n + #v[2] end print(n) "
              "local s = {} for i = 1, 50000 do s[#s + 1] = i % 97 end table.sort(s) print(s[1], s[#s]) "
              "local c = 0 for i = 1, 3000 do local co = coroutine.wrap(function() coroutine.yield(i) end) "
              "c = c + co() end print(c) print(#table.concat(s, ','))")
    same([need("lua5.4"), "-e", script])


def case_awk_and_sort_work_alike():
    text = lines_of_words(60000)
    same([need("awk"), "{ for (i = 1; i <= NF; i++) n[$i]++ } "
                       "END { for (w in n) print n[w], w | \"sort\" }"],
         text_in=text)
    same([need("sort"), "--parallel=4", "-S", "8M", "-k3"], text_in=text)
    same([need("sed"), "-E", "s/([a-e]+) ([f-j]+)/\\2 \\1/g"], text_in=text)
    same([need("grep"), "-E", "-c", "(ab|cd)+.*(ij|gh)"], text_in=text)


def case_find_tar_xz_and_gzip_round_trip():
    with folder() as place:
        tree = os.path.join(place, "tree")
        for i in range(150):
            where = os.path.join(tree, f"d{i % 12}", f"e{i % 5}")
            os.makedirs(where, exist_ok=True)
            with open(os.path.join(where, f"f{i}"), "w", encoding="ascii") as file:
                file.write(lines_of_words(40, seed=i))
        same([need("find"), tree, "-type", "f", "-size", "+1k"])
        script = ("tar --sort=name --mtime=@0 --owner=0 --group=0 -cf - -C tree . | xz -T2 -6 > a.tar.xz && "
                  "mkdir out && xz -dc a.tar.xz | tar -xf - -C out && diff -r tree out && rm -rf out && "
                  "tar -cf - --sort=name --mtime=@0 -C tree . | gzip -9n | gzip -dc | md5sum && md5sum < a.tar.xz")
        for name in ("tar", "xz", "gzip"):
            need(name)
        same([need("sh"), "-c", script], directory=place)


def case_z3_proves_alike():
    variables = 60
    text = "".join(f"(declare-const x{i} Int)\n(assert (and (> x{i} 0) (< x{i} {200 + i})))\n"
                   for i in range(variables))
    text += "".join(f"(assert (> (+ x{i} x{(i * 7 + 1) % variables}) "
                    f"(* 2 x{(i * 3 + 2) % variables})))\n"
                    if i % 3 else f"(assert (distinct x{i} x{(i + 5) % variables}))\n"
                    for i in range(variables))
    text += "(declare-const b (_ BitVec 24))\n(assert (= (bvmul b b) #x0a9f31))\n(check-sat)\n"
    demand("sat" in same([need("z3"), "-in"], text_in=text), "no answer")


def case_ghostscript_renders_alike():
    page = ("%!PS\n/n 0 def 1 1 60 { /i exch def newpath i 9 mul i 10 mul moveto 0 1 30 { dup i mul 7 mod 20 mul "
            "exch 15 mul lineto } for closepath i 60 div setgray fill /Helvetica i selectfont i 5 mul 400 "
            "moveto (text) show } for showpage\n")
    same([need("gs"), "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=pgm", "-r100",
          "-sOutputFile=-", "-"],
         text_in=page * 4)


# ---- Servers ---------------------------------------------------------------------------

class Server:
    """A server with its stderr in a file; killed at the end if it has not ended itself."""

    def __init__(self, command, place, ready, seconds=20, **more):
        self.log = open(os.path.join(place, "stderr"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log,
                                        stdin=subprocess.DEVNULL, cwd=place,
                                        env=driver.environment(True, **more))
        end = time.monotonic() + seconds
        while not ready():
            demand(self.process.poll() is None, f"the server ended with {self.process.returncode}",
                   self.said())
            demand(time.monotonic() < end, "the server does not answer", self.said())
            time.sleep(0.02)

    def said(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def __enter__(self):
        return self

    def ended(self, seconds=20):
        return self.process.wait(seconds)

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()


def answers(path):
    """Whether someone listens on a Unix socket."""
    def ready():
        with socket.socket(socket.AF_UNIX) as one:
            try:
                one.connect(path)
                return True
            except OSError:
                return False
    return ready


def redis_saves_and_loads(**more):
    server, client = need("redis-server"), need("redis-cli")
    with folder() as place:
        path = os.path.join(place, "s")

        def call(*words):
            done = run([client, "-s", path, *words], preloaded=False)
            demand(done.returncode == 0, driver.describe(done))
            return done.stdout.strip()

        command = [server, "--port", "0", "--unixsocket", path, "--dir", place, "--save", "",
                   "--logfile", os.path.join(place, "log"), "--daemonize", "no"]
        fill = ("for i = 1, 60000 do redis.call('set', 'k' .. i, string.rep('v', i % 700)) "
                "if i % 5 == 0 then redis.call('rpush', 'l' .. i % 50, i, i + 1) "
                "redis.call('hset', 'h' .. i % 90, i, i) redis.call('zadd', 'z', i, i) end end")
        with Server(command, place, answers(path), **more) as redis:
            call("eval", fill, "0")
            size = call("dbsize")
            digest = call("debug", "digest")
            for _ in range(3):
                started = call("info", "persistence")
                demand("rdb_bgsave_in_progress:0" in started, started)
                call("bgsave")
                call("eval", "for i = 1, 20000 do redis.call('append', 'k' .. i, 'x') end", "0")
                end = time.monotonic() + 20
                while "rdb_bgsave_in_progress:1" in call("info", "persistence"):
                    demand(time.monotonic() < end, "BGSAVE hangs")
                    time.sleep(0.02)
                demand("rdb_last_bgsave_status:ok" in call("info", "persistence"), "BGSAVE failed",
                       call("info", "persistence"))
            call("eval", "for i = 1, 60000, 2 do redis.call('del', 'k' .. i) end", "0")
            digest = call("debug", "digest")
            call("save")
            size = call("dbsize")
            run([client, "-s", path, "shutdown", "nosave"], preloaded=False)
            demand(redis.ended() == 0, f"redis ended with {redis.process.returncode}")
            demand(redis.said() == "", "stderr is not empty", redis.said())
        with Server(command, place, answers(path), **more) as redis:
            end = time.monotonic() + 20
            while "loading:1" in call("info", "persistence") and time.monotonic() < end:
                time.sleep(0.02)
            demand(call("dbsize") == size and call("debug", "digest") == digest,
                   "what was saved is not what was loaded")
            run([client, "-s", path, "shutdown", "nosave"], preloaded=False)
            demand(redis.ended() == 0, f"redis ended with {redis.process.returncode}")


def case_redis_loads_saves_in_a_child_and_shuts_down():
    redis_saves_and_loads()


def live_blocks(report, tag):
    """What the tag holds at the end of each process that ended."""
    with open(report, encoding="utf-8") as file:
        reports = file.read().split("]}\n")[:-1]
    leaks = [json.loads(one + "]}")["leaks"] for one in reports]
    return [sum(leak["live_blocks"] for leak in one if leak["tag"] == tag) for one in leaks]


def case_redis_runs_with_every_block_tagged():
    with folder() as place:
        report = os.path.join(place, "leaks")
        redis_saves_and_loads(ALLOT_TAG="redis", ALLOT_LEAKS="exit:" + report)
        live = live_blocks(report, "redis")
        demand(len(live) >= 2 and max(live) > 100000, f"live blocks: {live}")


def case_lua_runs_with_every_block_tagged():
    script = ("local t = {} for i = 1, 200000 do t[i] = {i, tostring(i)} end "
              "for i = 1, 200000, 3 do t[i] = nil end collectgarbage() print(#t, t[2][2]) os.exit(0)")
    with folder() as place:
        report = os.path.join(place, "leaks")
        same([need("lua5.4"), "-e", script], ALLOT_TAG="lua", ALLOT_LEAKS="exit:" + report)
        live = live_blocks(report, "lua")
        demand(len(live) == 1 and live[0] > 250000, f"live blocks: {live}")


def redis_is_watched(guard):
    with folder() as place:
        report = os.path.join(place, "leaks")
        redis_saves_and_loads(ALLOT_TAG="redis", ALLOT_GUARD=guard, ALLOT_LEAKS="exit:" + report)
        live = live_blocks(report, "redis")
        demand(len(live) >= 2 and max(live) > 100000, f"live blocks: {live}")


def case_redis_runs_with_every_block_tagged_and_sampled():
    redis_is_watched("sample:1000")


def case_redis_runs_with_every_block_tagged_and_watched_by_name():
    redis_is_watched("tag:redis")


def case_lua_runs_with_every_block_tagged_and_watched():
    script = ("local t = {} for i = 1, 20000 do t[i] = {i, tostring(i)} end "
              "for i = 1, 20000, 3 do t[i] = nil end collectgarbage() print(#t, t[2][2]) os.exit(0)")
    counts = []
    for guard in "none", "sample:10", "all", "tag:lua":
        with folder() as place:
            report = os.path.join(place, "leaks")
            same([need("lua5.4"), "-e", script], ALLOT_TAG="lua", ALLOT_GUARD=guard,
                 ALLOT_LEAKS="exit:" + report)
            counts += live_blocks(report, "lua")
    demand(len(counts) == 4 and min(counts) > 25000, f"live blocks: {counts}")
    # The hash of a string depends on addresses, and with it the order in tables, but hardly this.
    demand(max(counts) - min(counts) < 50, f"live blocks: {counts}")


def case_memcached_keeps_values():
    with folder() as place:
        path = os.path.join(place, "s")
        command = [need("memcached"), "-s", path, "-m", "32", "-t", "4"]
        if os.geteuid() == 0:
            os.chmod(place, 0o777)
            command += ["-u", "nobody"]
        with Server(command, place, answers(path)) as server:
            links = []
            for _ in range(40):
                link = socket.socket(socket.AF_UNIX)
                link.connect(path)
                links.append(link.makefile("rwb"))
            for i in range(8000):
                link, value = links[i % 40], b"v" * (i * 37 % 3000)
                link.write(b"set k%d 0 0 %d\r\n%s\r\n" % (i, len(value), value))
                link.flush()
                demand(link.readline() == b"STORED\r\n", f"set {i} failed")
            for i in range(7000, 8000):
                link = links[i % 40]
                link.write(b"get k%d\r\n" % i)
                link.flush()
                head = link.readline()
                demand(head == b"VALUE k%d 0 %d\r\n" % (i, i * 37 % 3000), f"get {i}: {head!r}")
                demand(link.read(i * 37 % 3000 + 2).strip() == b"v" * (i * 37 % 3000), f"get {i}")
                link.readline()
            server.process.send_signal(signal.SIGTERM)
            status = server.ended()
            demand(status in (0, -signal.SIGTERM), f"memcached ended with {status}")
            said = server.said().replace("Signal handled: Terminated.\n", "")
            demand(said == "", "stderr is not empty", said)


def case_nginx_serves_and_reloads():
    with folder() as place:
        path = os.path.join(place, "s")
        os.chmod(place, 0o755)
        body = lines_of_words(3000)
        with open(os.path.join(place, "index.html"), "w", encoding="ascii") as file:
            file.write(body)
        with open(os.path.join(place, "nginx.conf"), "w", encoding="ascii") as file:
            file.write(f"daemon off; worker_processes 2; pid {place}/pid; error_log {place}/error.log;\n"
                       f"events {{ worker_connections 64; }}\nhttp {{ access_log off; gzip on;\n"
                       f"gzip_min_length 1; gzip_types text/plain;\n"
                       f"client_body_temp_path {place}/b; proxy_temp_path {place}/p;\n"
                       f"fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/c;\n"
                       f"server {{ listen unix:{path}; root {place}; }} }}\n")

        def fetch(compressed):
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(20)
                link.connect(path)
                extra = "Accept-Encoding: gzip\r\n" if compressed else ""
                link.sendall(f"GET /index.html HTTP/1.0\r\nHost: x\r\n{extra}\r\n".encode())
                data = b"".join(iter(lambda: link.recv(65536), b""))
            head, _, content = data.partition(b"\r\n\r\n")
            demand(b" 200 " in head, head)
            return (gzip.decompress(content) if b"gzip" in head else content).decode()

        command = [need("nginx"), "-p", place, "-e", f"{place}/error.log", "-c",
                   f"{place}/nginx.conf"]
        with Server(command, place, answers(path)) as server:
            for i in range(60):
                demand(fetch(i % 2 == 0) == body, "the page differs")
                if i == 30:
                    server.process.send_signal(signal.SIGHUP)
            server.process.send_signal(signal.SIGQUIT)
            demand(server.ended() == 0, f"nginx ended with {server.process.returncode}")
            demand(server.said() == "", "stderr is not empty", server.said())
        with open(f"{place}/error.log", encoding="utf-8", errors="replace") as file:
            log = file.read()
        demand("exited on signal" not in log, log)


# ---- Figures ---------------------------------------------------------------------------

def case_statistics_of_a_program_are_consistent():
    with folder() as place:
        path = os.path.join(place, "stats")
        done = run([need("python3"), "-c",
                    "import json; d = [json.dumps([i] * 50) for i in range(20000)]"],
                   ALLOT_STATS=f"exit:{path}")
        clean(done)
        with open(path, encoding="utf-8") as file:
            events = [json.loads(line) for line in file]
        demand([event["event"] for event in events] == ["start", "exit"], events)
        last = events[1]
        demand(last["malloc_calls"] > 10000, last)
        demand(last["free_calls"] <= last["malloc_calls"], last)
        demand(last["live_blocks"] == last["malloc_calls"] - last["free_calls"], last)
        demand(all(isinstance(value, (int, str))
                   and (isinstance(value, str) or 0 <= value < 1 << 62)
                   for value in last.values()), last)


driver.main(globals())
