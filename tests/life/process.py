"""process.py - limits, dumps, privileges, tracers and other libcs, seen from outside."""
import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys

import crash
import driver
from driver import LIBRARY, Skipped, clean, demand, folder, need, run

MIB = 1 << 20
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LIMITS = os.environ.get("ALLOT_TEST_LIMITS", "")  # the program made of limits.c
STATIC = os.environ.get("ALLOT_TEST_STATIC", "")  # early.c, linked statically
# qemu's user mode notes every page of a mapping: a reservation of 1 TiB takes it a minute.
EMULATED_RESERVE = "256MiB"
AUDIT = os.environ.get("ALLOT_TEST_AUDIT", "")    # lib_audit.c


# ---- Address space ---------------------------------------------------------------------

def is_own_crash(command, preloaded, limit_bytes):
    """Whether it is the program's own code that crashes under the limit."""
    where = crash.place(command, driver.environment(preloaded), lambda: resource.setrlimit(
        resource.RLIMIT_AS, (limit_bytes, limit_bytes)))
    return where != "" and os.path.realpath(where) == os.path.realpath(command[0])


def least_address_space(command, preloaded):
    """The smallest limit in MiB under which the command works."""
    for mib in (8, 10, 12, 14, 16, 18, 20, 22, 24, 28, 32, 48, 64, 128):
        bytes_ = mib * MIB
        done = run(command, preloaded=preloaded,
                   limit=lambda: resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_)))
        # A program may abort for want of memory and say so, or go on without the memory that it
        # did not get, as python does at some limits; a crash in other code is another thing.
        fair = (done.returncode >= 0 or (done.returncode == -6 and "emory" in done.stderr) or
                (done.returncode == -11 and is_own_crash(command, preloaded, bytes_)))
        demand(fair and "allot:" not in done.stderr, f"under {mib} MiB:", driver.describe(done))
        if done.returncode == 0 and done.stderr == "":
            return mib
    return 1 << 20


def demand_address_space(command, most):
    without = least_address_space(command, False)
    result = least_address_space(command, True)
    print(f"{command[0]}: {result} MiB of address space, {without} MiB without the library")
    demand(result <= max(most, without), f"{result} MiB are needed, {without} without the library")


def case_python_starts_in_24_mib_of_address_space():
    demand_address_space([need("python3"), "-I", "-S", "-c",
                          "print(len([str(i) for i in range(1000)]))"],
                         24)


def case_perl_starts_in_16_mib_of_address_space():
    demand_address_space([need("perl"), "-e", "my @a = map { $_ x 3 } 1 .. 1000; print scalar @a"],
                         16)


def case_a_shell_starts_in_12_mib_of_address_space():
    demand_address_space([need("sh"), "-c", "for i in 1 2 3; do echo $i; done"], 12)


def case_python_raises_memory_error_under_a_limit_and_goes_on():
    script = ("import resource\n"
              "resource.setrlimit(resource.RLIMIT_AS, (300 << 20, resource.RLIM_INFINITY))\n"
              "for i in range(3):\n"
              "    try:\n        x = [bytearray(1 << 20) for i in range(400)]\n        print('no error')\n"
              "    except MemoryError:\n        pass\n"
              "    x = None\n"
              "resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)\n"
              "print(len([bytearray(1 << 20) for i in range(400)]))\n")
    # The limit is above what is in use only where little is reserved.
    done = run([need("python3"), "-I", "-c", script], ALLOT_RESERVE="128MiB")
    demand(clean(done) == "400\n", driver.describe(done))


# ---- The machine's memory policy -------------------------------------------------------

@contextlib.contextmanager
def sysctl(path, value):
    """Set a file of /proc/sys; a guardian puts the old value back even if we are killed."""
    with open(path, encoding="ascii") as file:
        old = file.read().strip()
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(value)
    except OSError as error:
        raise Skipped(f"{path} cannot be set: {error.strerror}") from error
    guardian = subprocess.Popen(["sh", "-c", f"cat >/dev/null; echo {old} >{path}"],
                                stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        guardian.stdin.close()
        guardian.wait()


def case_memory_that_may_not_be_overcommitted_is_enough():
    if not LIMITS:
        raise Skipped("ALLOT_TEST_LIMITS is not set")
    with sysctl("/proc/sys/vm/overcommit_memory", "2"):
        done = run([LIMITS, "the_allocator_works"])
        python = run([need("python3"), "-I", "-c",
                      "print(len([bytearray(1 << 16) for i in range(500)]))"])
    clean(done)
    demand(clean(python) == "500\n", driver.describe(python))


@contextlib.contextmanager
def memory_cgroup(bytes_):
    """A control group with a memory limit; yields the file that takes process numbers."""
    one, two = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
    try:
        if os.path.exists(f"{one}/memory.limit_in_bytes"):
            group, limit = f"{one}/allot-test-{os.getpid()}", "memory.limit_in_bytes"
        elif "memory" in open(f"{two}/cgroup.subtree_control", encoding="ascii").read().split():
            group, limit = f"{two}/allot-test-{os.getpid()}", "memory.max"
        else:
            raise Skipped("no memory controller")
        os.mkdir(group)
    except OSError as error:
        raise Skipped(f"no control group can be made: {error.strerror}") from error
    try:
        with open(f"{group}/{limit}", "w", encoding="ascii") as file:
            file.write(str(bytes_))
        yield f"{group}/cgroup.procs"
    finally:
        os.rmdir(group)


def case_a_memory_cgroup_of_128_mib_is_lived_with():
    with memory_cgroup(128 * MIB) as members:
        def join():
            with open(members, "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
        done = run([LIMITS, "eighty_mib_of_one_size_after_the_other"], limit=join)
    clean(done)


# ---- Dumps and privileges --------------------------------------------------------------

def core_bytes(preloaded, place):
    """Size of the core file of a crash, and the number of segments in it."""
    def allow():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    before = set(os.listdir(place))
    done = run([LIMITS, "a_crash_with_some_blocks"], preloaded=preloaded, directory=place,
               limit=allow)
    demand(done.returncode == -6, driver.describe(done))
    found = set(os.listdir(place)) - before
    if not found:
        raise Skipped("no core file was written here")
    path = os.path.join(place, found.pop())
    with open(path, "rb") as file:
        head = file.read(64)
    size = os.stat(path).st_size
    os.unlink(path)
    return size, int.from_bytes(head[56:58], sys.byteorder)


def case_a_core_dump_stays_small():
    with open("/proc/sys/kernel/core_pattern", encoding="ascii") as file:
        pattern = file.read()
    if "|" in pattern or "/" in pattern:
        raise Skipped("core files go elsewhere on this machine")
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard != resource.RLIM_INFINITY and os.geteuid() != 0:
        raise Skipped("core files are not allowed")
    with folder() as place:
        without, segments_without = core_bytes(False, place)
        result, segments = core_bytes(True, place)
    print(f"{result >> 10} KiB in {segments} segments, "
          f"{without >> 10} KiB in {segments_without} without")
    demand(result <= without + 16 * MIB, f"{result} bytes, without the library {without}")
    demand(segments <= segments_without + 40, f"{segments} segments, without {segments_without}")


def case_a_setuid_program_ignores_the_options_in_the_environment():
    if os.geteuid() != 0 or not STATIC:
        raise Skipped("only root can make a program setuid for another user")
    with folder() as place:
        os.chmod(place, 0o755)
        program = shutil.copy(STATIC, os.path.join(place, "program"))
        words = [program, "free_of_null_may_be_the_first_call"]
        plain = run(words, preloaded=False, ALLOT_VERBOSE="on")
        demand(plain.returncode == 0 and "allot" in plain.stderr,
               "without privileges it should speak:",
               driver.describe(plain))
        os.chown(program, 65534, 65534)
        os.chmod(program, 0o4755)
        privileged = run(words, preloaded=False, ALLOT_VERBOSE="on", ALLOT_PURGE_DELAY="wrong",
                         ALLOT_STATS=f"exit:{place}/stats")
        clean(privileged)
        demand(not os.path.exists(f"{place}/stats"), "a file was written")


# ---- Tracers ---------------------------------------------------------------------------

def case_an_auditing_library_does_no_harm():
    for command in ([LIMITS, "the_allocator_works"],
                    [need("python3"), "-I", "-c", "print(sum(range(99)))"]):
        clean(run(command, LD_AUDIT=AUDIT))


def traced(command, calls, preloaded):
    """The lines of strace for these system calls."""
    with folder() as place:
        log = os.path.join(place, "log")
        inner = ["env", f"LD_PRELOAD={LIBRARY}"] + command if preloaded else command
        done = run([need("strace"), "-f", "-qq", "-o", log, "-e", f"trace={calls}", "--"] + inner,
                   preloaded=False)
        if "ptrace" in done.stderr:
            raise Skipped("strace may not trace here")
        demand(done.returncode == 0, driver.describe(done))
        with open(log, encoding="utf-8", errors="replace") as file:
            return [re.sub(r"^\d+ +", "", line) for line in file]


def case_no_prctl_no_signal_and_no_thread_is_asked_for():
    script = [need("python3"), "-I", "-c",
              "import json; x = [json.dumps([i] * 99) for i in range(20000)]; del x"]
    calls = ("prctl,rt_sigaction,rt_sigprocmask,clone,clone3,sigaltstack,setpriority,"
             "sched_setaffinity,seccomp")

    def summary(preloaded):
        # Naming a mapping (PR_SET_VMA) changes nothing but /proc/PID/maps.
        return sorted(re.sub(r"0x[0-9a-f]+", "P", line) for line in traced(script, calls, preloaded)
                      if "PR_SET_VMA" not in line)
    with_, without = summary(True), summary(False)
    demand(len(with_) == len(without), "other calls are made:", "".join(with_)[-1500:],
           "instead of",
           "".join(without)[-1500:])


def case_a_program_in_steady_state_makes_no_system_call():
    script = ("use strict; my @k; for my $r (1 .. 30) { if ($r == 10) { syscall(39) } "
              "for my $i (1 .. 20000) { $k[$i % 500] = 'x' x ($i % 700) } } syscall(39);")
    lines = traced([need("perl"), "-e", script], "getpid,mmap,munmap,madvise,mprotect,brk,mremap",
                   True)
    marks = [i for i, line in enumerate(lines) if line.startswith("getpid")]
    demand(len(marks) >= 2, "no marks", lines[-5:])
    between = lines[marks[-2] + 1:marks[-1]]
    demand(len(between) <= 2, f"{len(between)} system calls", *between[:20])


# ---- Other libcs and processors --------------------------------------------------------

def build_other(compiler, options, place, name):
    """The library and other_libc.c in one program."""
    program = os.path.join(place, name)
    done = run([compiler, "-O2", "-std=gnu11", "-fvisibility=hidden", "-ftls-model=initial-exec",
                *(f"-fno-builtin-{name}" for name in ("malloc", "calloc", "realloc", "free")),
                f"-I{ROOT}/include", f"-I{ROOT}/src", *options, "-o", program,
                f"{ROOT}/tests/life/other_libc.c", f"{ROOT}/src/allot.c", "-pthread"],
               preloaded=False)
    demand(done.returncode == 0, driver.describe(done))
    return program


def case_the_library_works_with_musl():
    compiler = need("musl-gcc")
    with folder() as place:
        # The headers of the kernel, which Debian's musl-tools leave to the C library of the system.
        headers = ["-idirafter", "/usr/include"]
        multiarch = run(["gcc", "-print-multiarch"], preloaded=False).stdout.strip()
        if multiarch:
            headers += ["-idirafter", f"/usr/include/{multiarch}"]
        for options in (["-static"], ["-static", "-fPIE", "-pie"], ["-fPIE", "-pie"]):
            program = build_other(compiler, options + headers, place, "program")
            demand(clean(run([program], preloaded=False)) == "ok\n", f"{options}: no answer")


def case_the_library_works_with_clang():
    compiler = need("clang")
    with folder() as place:
        program = build_other(compiler, ["-fPIE", "-pie"], place, "program")
        demand(clean(run([program], preloaded=False)) == "ok\n", "no answer")


def case_the_library_works_on_aarch64_with_pages_of_4_and_64_kib():
    compiler, emulator = need("aarch64-linux-gnu-gcc"), need("qemu-aarch64")
    with folder() as place:
        program = build_other(compiler, ["-static"], place, "program")
        for page in ("4096", "16384", "65536"):
            done = run([emulator, "-p", page, program], preloaded=False, seconds=100,
                       ALLOT_RESERVE=EMULATED_RESERVE)
            demand(clean(done) == "ok\n", f"pages of {page} bytes")


def case_the_library_works_in_an_emulator():
    emulator = need("qemu-x86_64") if shutil.which("qemu-x86_64") else need("qemu-x86_64-static")
    clean(run([emulator, STATIC, "calloc_may_be_the_first_call"], preloaded=False, seconds=100,
              ALLOT_RESERVE=EMULATED_RESERVE))


driver.main(globals())
