"""Reproduces every vector of protocol-spec/vectors with the oracle; says what differs.

    python3 tests/oracle/check_vectors.py [FOLDER]
"""

import hashlib
import ipaddress
import json
import pathlib
import sys

import nlbd_oracle as oracle
import nlbd_packets as packets

LONG = {"node", "incarnation", "sequence", "epoch", "digest", "pin_version", "first", "version",
        "owner", "owner_incarnation", "after", "memory"}


class Checker:
    """Counts what agrees, keeps what differs."""

    def __init__(self):
        self.checked = 0
        self.wrong = []

    def same(self, what, found, expected):
        self.checked += 1
        if found != expected:
            self.wrong.append(f"{what}:\n  oracle: {found}\n  vector: {expected}")


def long(text):
    assert len(text) == 16, text
    return int(text, 16)


def members_of(item):
    return [(long(member[0]), member[1]) for member in item["members"]]


def fields_of(item):
    """The fields of a vector as the oracle has them."""
    fields = {name: long(value) if name in LONG else value for name, value in item.items()}
    if "accepts" in fields:
        fields["accepts"] = bytes.fromhex(fields["accepts"])
        fields["peers"] = [(long(node), *rest) for node, *rest in fields["peers"]]
    if "entries" in fields:
        fields["entries"] = [
            (word, long(value) if word == "answered" else ipaddress.ip_address(value))
            for word, value in fields["entries"]]
    for name in ("from", "until"):
        if fields.get(name):
            fields[name] = ipaddress.ip_address(fields[name])
    if isinstance(fields.get("want"), list):
        fields["want"][1] = ipaddress.ip_address(fields["want"][1])
    if "clients" in fields:
        fields["clients"] = [ipaddress.ip_address(client) for client in fields["clients"]]
    return fields


def verdict(payload, cluster, keys):
    try:
        return oracle.decode(payload, cluster, keys)
    except oracle.Void as void:
        return f"void: {void}"


def check_frames(check, vectors):
    for item in vectors["frames"] + vectors["payloads"]:
        fields, payload = fields_of(item["fields"]), bytes.fromhex(item["hex"])
        keys = [bytes.fromhex(key) for key in item["keys"]]
        check.same(f"decode {item['name']}", verdict(payload, fields["cluster"], keys), fields)
    for item in vectors["frames"]:
        key = bytes.fromhex(item["keys"][0])
        encoded = oracle.encode(fields_of(item["fields"]), key).hex()
        check.same(f"encode {item['name']}", encoded, item["hex"])
    for item in vectors["refused"]:
        keys = [bytes.fromhex(key) for key in item["keys"]]
        found = verdict(bytes.fromhex(item["hex"]), item["cluster"], keys)
        check.same(f"refuse {item['name']}", found, f"void: {item['reason']}")


def check_hashes(check, vectors):
    for item in vectors["clients"]:
        found = oracle.client_hash(item["address"], item["seed"])
        check.same(f"hash {item}", found, item["hash"])
        check.same(f"bucket {item}", oracle.scale(found), item["bucket"])
    for item in vectors["strings"]:
        found = oracle.jhash(bytes.fromhex(item["hex"]), item["seed"])
        check.same(f"hash {item}", found, item["hash"])


def check_tables(check, vectors):
    cache = {}
    for item in vectors["tables"]:
        members = members_of(item)
        what = f"table of {len(members)} nodes, {item['weights']} weights"
        owners = oracle.table(members, cache)
        ids = b"".join(owner.to_bytes(8, "big") for owner in owners)
        shares = [member[2] for member in item["members"]]
        check.same(f"{what}: quotas", oracle.quotas(members), shares)
        counts = [owners.count(node) for node, _ in members]
        check.same(f"{what}: shares", counts, shares)
        found = hashlib.sha256(ids).hexdigest()
        check.same(f"{what}: owners", found, item["owners_sha256"])
        if len(members) < 6:
            found = oracle.table_by_pairs(members, cache)
            check.same(f"{what}: both methods", found, owners)
        if "owners" in item:
            listed = [members[position][0] for position in bytes.fromhex(item["owners"])]
            check.same(f"{what}: each owner", owners, listed)


def check_digests(check, vectors):
    for item in vectors["digests"]:
        found = oracle.digest(item["seed"], members_of(item))
        check.same(f"digest {item}", found, long(item["digest"]))


def check_keys(check, vectors):
    for item in vectors["seeds"]:
        found = oracle.proposed_seed(bytes.fromhex(item["key"]), item["cluster"])
        check.same(f"seed {item}", found, item["seed"])
    for item in vectors["seals"]:
        frame = (item["cluster"], *(long(item[f]) for f in ("node", "incarnation", "sequence")))
        key = bytes.fromhex(item["key"])
        check.same(f"seal {item}", oracle.seal(key, *frame, item["seed"]), item["sealed"])
        check.same(f"open {item}", oracle.seal(key, *frame, item["sealed"]), item["seed"])
    for item in vectors["tags"]:
        found = oracle.make_tag(bytes.fromhex(item["key"]), bytes.fromhex(item["hex"]))
        check.same(f"tag {item}", found.hex(), item["tag"])
    for item in vectors["fingerprints"]:
        found = oracle.fingerprint(item["cluster"], item["seed"], bytes.fromhex(item["hex"]))
        check.same(f"fingerprint {item}", found, long(item["fingerprint"]))
    for item in vectors["names"]:
        found = oracle.keys_name([bytes.fromhex(key) for key in item["keys"]])
        check.same(f"name of keys {item}", found, item["name"])
    known = {item["key"] for item in vectors["seeds"]}
    check.same("the insecure key is among the keys", oracle.INSECURE_KEY.hex() in known, True)


def check_addresses(check, vectors):
    for item in vectors["addresses"]:
        found = {"cluster": item["cluster"], **oracle.cluster_addresses(item["cluster"])}
        check.same(f"addresses of cluster {item['cluster']}", found, item)


def check_packets(check, vectors):
    for item in vectors["packets"]:
        services = {ipaddress.ip_address(service) for service in item["services"]}
        found = packets.read(bytes.fromhex(item["hex"]), services)
        expected = (item["client"], item["opens"], item["hashed"])
        check.same(f"packet {item['name']}", (str(found[0]), found[1], found[2].hex()), expected)
        found = oracle.fingerprint(item["cluster"], item["seed"], found[2])
        check.same(f"fingerprint of {item['name']}", found, long(item["fingerprint"]))


def check_settings(check, vectors):
    for item in vectors["addresses"]:
        check.same(f"addresses {item}", oracle.addresses_digest(item["set"]), item["digest"])
    for item in vectors["ports"]:
        check.same(f"ports {item}", oracle.ports_digest(item["set"]), item["digest"])


CHECKS = {
    "frames.json": check_frames,
    "hashes.json": check_hashes,
    "tables.json": check_tables,
    "digests.json": check_digests,
    "keys.json": check_keys,
    "addresses.json": check_addresses,
    "packets.json": check_packets,
    "settings.json": check_settings,
}


def main():
    here = pathlib.Path(__file__).resolve()
    folder = here.parents[2] / "protocol-spec" / "vectors"
    if len(sys.argv) > 1:
        folder = pathlib.Path(sys.argv[1])
    check = Checker()
    found = {path.name for path in folder.glob("*.json")}
    check.same(f"the files in {folder}", found, set(CHECKS))
    for name in sorted(found & set(CHECKS)):
        CHECKS[name](check, json.loads((folder / name).read_text()))
    for wrong in check.wrong:
        print(wrong)
    print(f"{check.checked} checks, {len(check.wrong)} wrong")
    return 1 if check.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
