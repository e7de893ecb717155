#!/usr/bin/env python3
"""Prints every SASL payload and challenge, APOP digest in the captures named, one a line.

    payloads.py FILE...        needs tshark

What a mailtap log may never hold, found without mailtap: `record secrets` appends it to SECRETS.
"""

import re
import subprocess
import sys

BEGINS = re.compile(r"(?:\S+ )?AUTH(?:ENTICATE)? [A-Z0-9-]+(?: (\S+))?", re.I)
SHORTEST = 8


def lines(capture):
    """(stream, from the server, line) in the order of the capture; lines that span segments are put together."""
    fields = ["-T", "fields", "-e", "tcp.stream", "-e", "tcp.srcport", "-e", "tcp.payload"]
    command = ["tshark", "-r", capture, "-Y", "tcp.len > 0 && !tcp.analysis.retransmission", *fields]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rest = {}
    for row in output.splitlines():
        stream, port, payload = row.split("\t")
        key = stream, int(port) < 1024
        octets = rest.get(key, b"") + bytes.fromhex(payload)
        *whole, rest[key] = octets.split(b"\n")
        yield from ((*key, line.rstrip(b"\r").decode("latin-1")) for line in whole)


def payloads(capture):
    inside = {}
    for stream, by_server, line in lines(capture):
        if by_server:
            challenge = re.match(r"(?:334|\+)(?: (\S+))?$", line)
            if inside.get(stream) and challenge:
                yield challenge[1]
            else:
                inside[stream] = False
        elif inside.get(stream):
            yield line
        elif begins := BEGINS.fullmatch(line):
            inside[stream] = True
            yield begins[1]
        elif apop := re.match(r"APOP \S+ (\S+)", line):
            yield apop[1]


if __name__ == "__main__":
    found = {payload for capture in sys.argv[1:] for payload in payloads(capture) if len(payload or "") >= SHORTEST}
    print("\n".join(sorted(found)))
