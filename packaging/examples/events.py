#!/usr/bin/env python3
"""Follows the clusters of this host over varlink: their nodes, then what happens.

Needs varlink from PyPI. Argument: the socket, if the daemon has another run directory.
"""
import sys

import varlink

SOCKET = sys.argv[1] if len(sys.argv) > 1 else "/run/nlbd/org.nlbd.Cluster"

with varlink.Client.new_with_address(f"unix:{SOCKET}") as client:
    with client.open("org.nlbd.Cluster") as nlbd:
        for cluster in nlbd.Status()["clusters"]:
            for node in cluster["nodes"]:
                print(cluster["name"], node["name"] or node["id"], node["state"], node["weight"])
    # A stream keeps its connection to itself.
    with client.open("org.nlbd.Cluster") as nlbd:
        for answer in nlbd.Monitor(after=0, _more=True):
            event = answer["event"]
            print(event["sequence"], event["cluster"], event["kind"], event["text"], flush=True)
