#!/usr/bin/env python3
"""A switch of two ports in user space, with a mirror port: no kernel module for VLANs, tunnels or loss is needed.

    switch.py MODE        in the servers' name space; runs until it is killed

`lan0` comes up in the name space of the client (198.51.100.10) and `lan1` beside the servers (198.51.100.25); what
travels between them is copied to `mirror0`, where a capture sees it as MODE says:

    vlan   in 802.1Q, VLAN 42            qinq   in 802.1ad 7 and 802.1Q 42       pppoe  in a PPPoE session
    raw    bare IP packets (tun)         mpls   under two labels                 gre    in GRE over IPv4
    lossy  some frames arrive at nobody, some only at the mirror port, some not there, some late
"""

import fcntl
import os
import select
import struct
import subprocess
import sys

TUNSETIFF, IFF_TUN, IFF_TAP, IFF_NO_PI = 0x400454CA, 1, 2, 0x1000
MACS = bytes.fromhex("0200000000250200000000100800")


def device(name, kind):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), kind | IFF_NO_PI))
    return fd


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def gre(packet):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 24 + len(packet), 0, 0, 64, 47, 0, b"\xcb\0\x71\1", b"\xcb\0\x71\2")
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + b"\0\0\x08\0" + packet


WRAP = {
    "vlan": lambda frame: frame[:12] + b"\x81\0\0\x2a" + frame[12:],
    "qinq": lambda frame: frame[:12] + b"\x88\xa8\0\7\x81\0\0\x2a" + frame[12:],
    "mpls": lambda frame: frame[:12] + b"\x88\x47" + struct.pack("!II", 16 << 12 | 64, 17 << 12 | 1 << 8 | 64) + frame[14:],
    "pppoe": lambda frame: frame[:12] + b"\x88\x64\x11\0\0\1" + struct.pack("!HH", len(frame) - 12, 0x21) + frame[14:],
    "gre": lambda frame: MACS + gre(frame[14:]),
    "raw": lambda packet: packet,
    "lossy": lambda frame: frame,
}


def main(mode):
    kind = IFF_TUN if mode == "raw" else IFF_TAP
    lan0, lan1, mirror0 = (device(name, kind) for name in ("lan0", "lan1", "mirror0"))
    ip("link", "set", "lan0", "netns", "client")
    for name, address, prefix in ("lan0", "198.51.100.10", ["-n", "client"]), ("lan1", "198.51.100.25", []):
        ip(*prefix, "address", "add", f"{address}/24", "dev", name)
        if kind == IFF_TAP:
            ip(*prefix, "link", "set", name, "address", f"02:00:00:00:01:{address[-2:]}")
        ip(*prefix, "link", "set", name, "mtu", "1400", "up")
    # What the mirror port shows must not come in twice: with a reverse path elsewhere, the kernel drops it.
    for setting, value in ("ipv4/conf/mirror0/rp_filter", "1"), ("ipv6/conf/mirror0/disable_ipv6", "1"):
        with open(f"/proc/sys/net/{setting}", "w") as file:
            file.write(value)
    ip("link", "set", "mirror0", "mtu", "9000", "up")
    print("ready", flush=True)
    count, late = 0, None
    while True:
        for source in select.select([lan0, lan1], [], [])[0]:
            frame = os.read(source, 65536)
            version = frame[:1] if mode == "raw" else frame[12:14]
            if version not in (b"\x45", b"\x08\0", b"\x08\x06"):
                continue
            target = lan1 if source == lan0 else lan0
            if version == b"\x08\x06":
                os.write(target, frame)
                continue
            count += 1
            lossy = mode == "lossy"
            if not (lossy and count % 17 == 0):
                os.write(mirror0, WRAP[mode](frame))
            if lossy and count % 11 == 0:
                continue
            if lossy and count % 13 == 0 and late is None and len(frame) > 500:
                late = target, frame
                continue
            os.write(target, frame)
            if late:
                os.write(*late)
                late = None


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in WRAP:
        sys.exit(__doc__)
    main(sys.argv[1])
