"""Chapters 2 and 3 of protocol-spec/SPEC.md: addresses, the client hash, the table, the digest.

Part of the oracle; see nlbd_oracle.py.
"""

import hashlib
import heapq
import ipaddress
import struct

# --- 3.1 Limits ---------------------------------------------------------------------------------

BUCKETS = 4096
MAX_NODES = 64

M32 = 0xFFFF_FFFF
M64 = 0xFFFF_FFFF_FFFF_FFFF


# --- 2 On the wire ------------------------------------------------------------------------------

def mac(*numbers):
    return ":".join(f"{number:02x}" for number in numbers)


def cluster_addresses(cluster):
    """2.2, 2.3: every Ethernet address that derives from a cluster id."""
    high, low = cluster >> 8, cluster & 0xFF
    return {
        "unicast": mac(0x02, 0x4E, 0x4C, 0x42, high, low),
        "multicast": mac(0x03, 0x4E, 0x4C, 0x42, high, low),
        "igmp": mac(0x01, 0x00, 0x5E, 0x7F, high, low),
        "group": f"239.255.{high}.{low}",
        "heartbeats": mac(0x03, 0x4E, 0x4C, 0x48, high, low),
    }


# --- 3.2 The client hash ------------------------------------------------------------------------

def rol(x, n):
    return ((x << n) | (x >> (32 - n))) & M32


def jhash_mix(a, b, c):
    a = (a - c) & M32
    a ^= rol(c, 4)
    c = (c + b) & M32
    b = (b - a) & M32
    b ^= rol(a, 6)
    a = (a + c) & M32
    c = (c - b) & M32
    c ^= rol(b, 8)
    b = (b + a) & M32
    a = (a - c) & M32
    a ^= rol(c, 16)
    c = (c + b) & M32
    b = (b - a) & M32
    b ^= rol(a, 19)
    a = (a + c) & M32
    c = (c - b) & M32
    c ^= rol(b, 4)
    b = (b + a) & M32
    return a, b, c


def jhash_final(a, b, c):
    c ^= b
    c = (c - rol(b, 14)) & M32
    a ^= c
    a = (a - rol(c, 11)) & M32
    b ^= a
    b = (b - rol(a, 25)) & M32
    c ^= b
    c = (c - rol(b, 16)) & M32
    a ^= c
    a = (a - rol(c, 4)) & M32
    b ^= a
    b = (b - rol(a, 14)) & M32
    c ^= b
    c = (c - rol(b, 24)) & M32
    return c


def jhash(data, seed):
    a = b = c = (0xDEADBEEF + len(data) + seed) & M32
    while len(data) > 12:
        x, y, z = struct.unpack("<III", data[:12])
        a, b, c = jhash_mix((a + x) & M32, (b + y) & M32, (c + z) & M32)
        data = data[12:]
    if not data:
        return c
    x, y, z = struct.unpack("<III", data.ljust(12, b"\0"))
    return jhash_final((a + x) & M32, (b + y) & M32, (c + z) & M32)


def client_hash(address, seed):
    return jhash(ipaddress.ip_address(address).packed, seed)


def scale(hash_):
    return (hash_ * BUCKETS) >> 32


# --- 3.3 The table ------------------------------------------------------------------------------

GOLDEN = 0x9E3779B97F4A7C15


def view(members):
    """Each id once, of several entries the last; rising ids; the lowest MAX_NODES of them."""
    return sorted(dict(members).items())[:MAX_NODES]


def quotas(members):
    """3.3.1"""
    shares = [(1 << 48) // weight for _, weight in members]
    total = sum(shares)
    quota = [share * BUCKETS // total for share in shares]
    rest = [share * BUCKETS % total for share in shares]
    left = BUCKETS - sum(quota)
    order = sorted(range(len(members)), key=lambda i: (-rest[i], members[i][0]))
    for i in order[:left]:
        quota[i] += 1
    return quota


def mix64(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    return z ^ (z >> 31)


def node_costs(node, weight):
    """3.3.2: the cost of every bucket for one node."""
    key = mix64((node + GOLDEN) & M64)

    def stream(i):
        return mix64((key + GOLDEN * (i + 1)) & M64)

    rounds = [stream(i) for i in range(4)]
    costs = []
    for bucket in range(BUCKETS):
        x = bucket
        for k in rounds:
            f = k % 4096
            if f % 2 == 0:
                f += 1
            x = (x * f + (k >> 32)) % 4096
            x ^= x >> 6
        d = (x << 52) + (stream(4 + bucket) >> 12)
        if d % 2 == 0:
            d += 1
        z = 64 - d.bit_length()
        # The bits behind the highest one, brought to 32 by cutting or by zeros.
        behind = d.bit_length() - 1
        tail = d - (1 << behind)
        m = tail >> (behind - 32) if behind >= 32 else tail << (32 - behind)
        p = (m * ((1 << 32) - m)) >> 32
        e = ((z + 1) << 32) - m - ((p * 88) >> 8)
        costs.append(e * weight)
    return costs


def costs_of(members, cache):
    """The costs of every bucket for each member; `cache` keeps what depends on the id alone."""
    for node, _ in members:
        if node not in cache:
            cache[node] = node_costs(node, 1)
    return [[e * weight for e in cache[node]] for node, weight in members]


def table_by_pairs(members, cache):
    """3.3.3, the second method: the pairs bind in rising order of cost, node id, bucket."""
    members = view(members)
    costs = costs_of(members, cache)
    pairs = sorted((costs[i][b], i, b) for i in range(len(members)) for b in range(BUCKETS))
    room = quotas(members)
    owner = [None] * BUCKETS
    for _, i, bucket in pairs:
        if owner[bucket] is None and room[i]:
            owner[bucket] = members[i][0]
            room[i] -= 1
    return owner


def table(members, cache):
    """3.3.3, the first method: deferred acceptance."""
    members = view(members)
    costs = costs_of(members, cache)
    quota = quotas(members)
    kept = [[] for _ in members]  # heaps, the dearest bucket on top
    preference = {}  # of buckets that were sent on: whom they have still to ask, the last first
    for first, row in enumerate(zip(*costs)):
        bucket, i = first, row.index(min(row))
        while True:
            heapq.heappush(kept[i], (-costs[i][bucket], -bucket))
            if len(kept[i]) <= quota[i]:
                break
            bucket = -heapq.heappop(kept[i])[1]
            if bucket not in preference:
                order = sorted((costs[j][bucket], j) for j in range(len(members)))
                preference[bucket] = [j for _, j in reversed(order)]
                preference[bucket].pop()
            i = preference[bucket].pop()
    owner = [None] * BUCKETS
    for (node, _), heap in zip(members, kept):
        for _, bucket in heap:
            owner[-bucket] = node
    return owner


# --- 3.4 The digest -----------------------------------------------------------------------------

def digest(seed, members):
    members = view(members)
    text = b"nlbd view 1" + struct.pack(">IB", seed, len(members))
    for node, weight in members:
        text += struct.pack(">QH", node, weight)
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
