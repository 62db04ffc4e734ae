#!/usr/bin/env python3
"""Bytes on a core's wire that no client of ours sends, packed from docs/protocol.md alone; for .ci/refusals.

What a core answers to them is a Goodbye frame. It is played to the margate command as if a core had answered that, and this program
says what margate says and ends with its exit code: so a row shows what a user reads.

Not here, on purpose: any judgement; .ci/refusals knows what is right.
"""

import ctypes
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib

MAGIC, VERSION = b"MRGT", 0
HELLO, GOODBYE, REQUEST, MAP_REQUEST = 1, 3, 4, 7
CLIENT, GET = 1, 2
BODY_MAX, PAYLOAD_MAX, HELLO_MAX = 1 << 20, 8 << 20, 1024
PATIENCE = 60


def header(kind, body_length, payload_length, content, magic=MAGIC, version=VERSION):
    """A header whose own checksum is right, whatever else is not."""
    start = magic + struct.pack("<HBBQIII", version, kind, 0, 0, body_length, payload_length, content)
    return start + struct.pack("<I", zlib.crc32(start))


def frame(kind, body=b"", payload=b"", **changed):
    return header(kind, len(body), len(payload), zlib.crc32(body + payload), **changed) + body + payload


def hello(cluster=0):
    """A client's: the table's offsets are chosen so that every field lies at a multiple of its size."""
    vtable = struct.pack("<12H", 24, 73, 72, 4, 36, 68, 44, 70, 20, 52, 60, 64)
    names = struct.pack("<QQ", cluster >> 64, cluster & (1 << 64) - 1) + bytes(16)
    table = struct.pack("<i", 24) + names + bytes(36) + struct.pack("<B", CLIENT)
    return frame(HELLO, struct.pack("<I", 28) + vtable + table + bytes(3))


def gets(key, shard, first, count):
    """Operations that read one key over and over."""
    vector = bytes.fromhex("0c000000000006000800040006000000") + struct.pack("<II", 4, count)
    fields = (struct.pack("<QQQQIIIIIHBB", first + i, shard, 1, 0, 60_000, 0, len(key), 0, 0, 0, GET, 0) for i in range(count))
    return frame(REQUEST, vector + b"".join(fields), key * count)


def connect(address, window=None):
    host, port = address.rsplit(":", 1)
    stream = socket.socket()
    if window:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    stream.settimeout(PATIENCE)
    stream.connect((host, int(port)))
    return stream


def greeted(address, **options):
    stream = connect(address, **options)
    stream.sendall(hello())
    take_frame(stream)
    return stream


def take(stream, length):
    data = b""
    while len(data) < length:
        more = stream.recv(length - len(data))
        if not more:
            sys.exit(f"the core closed after {len(data)} of {length} bytes")
        data += more
    return data


def take_frame(stream):
    head = take(stream, 32)
    body, payload = struct.unpack_from("<II", head, 16)
    return head + take(stream, body + payload)


def last_words(stream):
    """The core's last frame, which must be a Goodbye; after it the core must close."""
    words = take_frame(stream)
    if words[6] != GOODBYE:
        sys.exit(f"the core answered with a frame of kind {words[6]}")
    if stream.recv(1):
        sys.exit("the core said something after its goodbye")
    return words


def show(words):
    """Lets margate say what these last words of a core mean, and ends as it does."""
    core = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            asking, _ = core.accept()
            with asking:
                take_frame(asking)
                asking.sendall(words)

    threading.Thread(target=answer, daemon=True).start()
    endpoint = "127.0.0.1:%d" % core.getsockname()[1]
    asked = subprocess.run([os.environ["MARGATE"], "--endpoints", endpoint, "--timeout", "1s", "get", "k"])
    sys.exit(asked.returncode)


SOUND = hello()
SPOILT_HELLOS = {
    "magic": header(HELLO, 0, 0, 0, magic=b"GET "),
    "version": header(HELLO, 0, 0, 0, version=9),
    "kind": header(99, 0, 0, 0),
    "body-length": header(HELLO, HELLO_MAX + 1, 0, 0),
    "header-checksum": SOUND[:8] + b"\xff" + SOUND[9:],
    "content-checksum": SOUND[:-1] + bytes([SOUND[-1] ^ 1]),
    "no-flatbuffer": frame(HELLO, b"\xff" * 16),
    "foreign-cluster": hello(cluster=0xFEED),
    "no-hello": frame(REQUEST),
}
SPOILT_REQUESTS = {
    "oversize-body": header(REQUEST, BODY_MAX + 1, 0, 0),
    "oversize-payload": header(REQUEST, 0, PAYLOAD_MAX + 1, 0),
    "not-a-client's": frame(HELLO),
}


def spoil(address, fault):
    if fault in SPOILT_HELLOS:
        stream = connect(address)
        stream.sendall(SPOILT_HELLOS[fault])
    else:
        stream = greeted(address)
        stream.sendall(SPOILT_REQUESTS[fault])
    show(last_words(stream))


def silent(address):
    show(last_words(connect(address)))


def trickle(stream, data):
    """A byte per second, until the core has had enough."""
    stream.settimeout(1)
    for at in range(len(data)):
        stream.sendall(data[at : at + 1])
        try:
            stream.recv(1, socket.MSG_PEEK)
            break
        except TimeoutError:
            pass
    stream.settimeout(PATIENCE)
    show(last_words(stream))


def never_reads(address, key):
    """Asks for a large value until the core has closed the connection; nothing is read after the handshake."""
    stream = greeted(address, window=4096)
    started, first = time.monotonic(), 0
    stream.settimeout(1)
    while time.monotonic() - started < PATIENCE:
        try:
            stream.sendall(gets(key.encode(), 1, first, 16))
            first += 16
            time.sleep(0.1)
        except TimeoutError:
            pass
        except OSError as error:
            print(f"closed after {time.monotonic() - started:.0f} s: {error.strerror}")
            return
    sys.exit(f"still open after {PATIENCE} s")


def beyond(address, cap):
    held = [greeted(address) for _ in range(cap)]
    one_more = connect(address)
    one_more.sendall(hello())
    words = last_words(one_more)
    for stream in held:
        stream.close()
    show(words)


def without_io_uring(errno, command):
    """Runs a command in a sandbox where io_uring_setup (425) fails, as containers do it."""
    # Load the call's number; if it is that one fail it, else allow it.
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050000 | errno), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_seccomp, filter_mode, program, 0, 0):
        sys.exit("this kernel takes no filter of system calls")
    os.execvp(command[0], command)


def newer_identity(path):
    with open(path, "r+b") as file:
        data = file.read()[:-4]
        data = data[:4] + struct.pack("<H", 999) + data[6:]
        file.seek(0)
        file.write(data + struct.pack("<I", zlib.crc32(data)))


def newer_segment(path):
    with open(path, "r+b") as file:
        block = file.read(4096)
        block = block[:4] + struct.pack("<H", 999) + block[6:20] + bytes(4) + block[24:]
        file.seek(0)
        file.write(block[:20] + struct.pack("<I", zlib.crc32(block)) + block[24:])


def main(what, *rest):
    if what == "spoil":
        spoil(*rest)
    elif what == "silent":
        silent(*rest)
    elif what == "trickle-hello":
        trickle(connect(*rest), SOUND)
    elif what == "trickle-frame":
        trickle(greeted(*rest), gets(b"k", 1, 0, 1))
    elif what == "never-reads":
        never_reads(*rest)
    elif what == "beyond":
        beyond(rest[0], int(rest[1]))
    elif what == "without-io-uring":
        without_io_uring(int(rest[0]), rest[1:])
    elif what == "newer-identity":
        newer_identity(*rest)
    elif what == "newer-segment":
        newer_segment(*rest)
    else:
        sys.exit(f"unknown: {what}")


if __name__ == "__main__":
    main(*sys.argv[1:])
