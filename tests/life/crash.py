"""crash.py - in whose code does a program crash?"""
import ctypes
import os
import platform
import signal
import struct

TRACEME, CONT, GETREGSET, PRSTATUS = 0, 7, 0x4204, 1
# Where the program counter stands among the registers, in words.
COUNTER = {"x86_64": 16, "aarch64": 32}

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class Vector(ctypes.Structure):
    """struct iovec."""
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def _counter(pid):
    registers = ctypes.create_string_buffer(1024)
    vector = Vector(ctypes.addressof(registers), len(registers))
    if libc.ptrace(GETREGSET, pid, PRSTATUS, ctypes.byref(vector)) != 0:
        return 0
    return struct.unpack_from("=Q", registers, COUNTER[platform.machine()] * 8)[0]


def _file_at(pid, address):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        for line in maps:
            first, last = (int(number, 16) for number in line.split()[0].split("-"))
            if first <= address < last:
                return line.split()[-1]
    return ""


def place(command, environment, prepare):
    """The file whose code takes SIGSEGV; "" if none does, or where it cannot be said."""
    if platform.machine() not in COUNTER:
        return ""
    pid = os.fork()
    if pid == 0:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        prepare()
        libc.ptrace(TRACEME, 0, None, None)
        os.execve(command[0], command, environment)
    found = ""
    status = os.waitpid(pid, 0)[1]
    while os.WIFSTOPPED(status):
        stopped_by = os.WSTOPSIG(status)
        if stopped_by == signal.SIGSEGV:
            found = _file_at(pid, _counter(pid))
        passed_on = 0 if stopped_by == signal.SIGTRAP else int(stopped_by)
        libc.ptrace(CONT, pid, None, passed_on)
        status = os.waitpid(pid, 0)[1]
    return found
