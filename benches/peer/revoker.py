"""The `revoker` function as a good engineer would write it in Python: read, lock, record, end, verify, record.

It takes the command `revoke` and leaves the same two kinds of entries in the same tables. It does less than the Rust
function: no other events, no further names, no sweep, no breaker, no shadow mode, no shared certificates, no look by
connection id. It is here to be measured beside.
"""

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.config import Config

LOCKS, AUDIT = os.environ["VPN_REVOKER_LOCKS_TABLE"], os.environ["VPN_REVOKER_AUDIT_TABLE"]
SETTLE = float(os.environ.get("VPN_REVOKER_SETTLE_SECONDS", "10"))
VERIFY = float(os.environ.get("VPN_REVOKER_VERIFY_SECONDS", "60"))
GENESIS = "0" * 64

config = Config(retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=16, connect_timeout=3, read_timeout=6)
ec2 = boto3.client("ec2", config=config)
dynamodb = boto3.client("dynamodb", config=config)
pool = ThreadPoolExecutor(max_workers=16)
serialize, deserialize = TypeSerializer().serialize, TypeDeserializer().deserialize


def now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def item(value):
    return serialize(value)["M"]


def read(keys):
    """What stands under these keys of the locks table, in as few calls as there can be."""
    found = {}
    for start in range(0, len(keys), 100):
        wanted = {LOCKS: {"Keys": [{"subject": {"S": key}} for key in keys[start:start + 100]], "ConsistentRead": True}}
        while wanted:
            answer = dynamodb.batch_get_item(RequestItems=wanted)
            for entry in answer["Responses"].get(LOCKS, []):
                plain = {key: deserialize(value) for key, value in entry.items()}
                found[plain["subject"]] = plain
            wanted = answer["UnprocessedKeys"]
    return found


def lock(name, command, at, stored):
    for _ in range(16):
        version = int(stored["version"]) if stored else 0
        hold = {"state": "locked", "as_of": at, "reason": command["reason"], "signal_id": command["id"], "subject": name}
        holds = {**(stored or {}).get("holds", {}), "command": hold}
        condition = {"ConditionExpression": "attribute_not_exists(subject)"}
        if stored:
            condition = {
                "ConditionExpression": "version = :before",
                "ExpressionAttributeValues": {":before": {"N": str(version)}},
            }
        try:
            locked = {"subject": name, "state": "locked", "version": version + 1, "holds": holds}
            dynamodb.put_item(TableName=LOCKS, Item=item(locked), **condition)
            return
        except dynamodb.exceptions.ConditionalCheckFailedException:
            stored = read([name]).get(name)
    raise RuntimeError(f"{name} was being written by others all the time")


def record(name, kind, command, detail, head):
    """Adds an entry to somebody's chain; what the chain ends with then."""
    for _ in range(16):
        seq, before = (int(head["seq"]), head["hash"]) if head else (0, GENESIS)
        at = now()
        entry = {
            "subject": name, "seq": seq + 1, "at": at, "day": at[:10], "kind": kind, "signal_id": command["id"],
            "authority": "command", "source": "invoke", "reason": command["reason"], "detail": detail, "prev_hash": before,
        }
        canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        entry["hash"] = hashlib.sha256(canonical.encode()).hexdigest()
        moved = {"subject": f"#head/{name}", "seq": seq + 1, "hash": entry["hash"]}
        marker = {"subject": f"#done/{command['id']}/{name}/{kind}"}
        guard = {"ConditionExpression": "attribute_not_exists(subject)"}
        head_guard = guard
        if head:
            head_guard = {"ConditionExpression": "seq = :seq", "ExpressionAttributeValues": {":seq": {"N": str(seq)}}}
        try:
            dynamodb.transact_write_items(TransactItems=[
                {"Put": {"TableName": AUDIT, "Item": item(entry), **guard}},
                {"Put": {"TableName": LOCKS, "Item": item(moved), **head_guard}},
                {"Put": {"TableName": LOCKS, "Item": item(marker), **guard}},
            ])
            return moved
        except dynamodb.exceptions.TransactionCanceledException:
            stored = read([marker["subject"], f"#head/{name}"])
            head = stored.get(f"#head/{name}")
            if marker["subject"] in stored:
                return head
    raise RuntimeError(f"the chain of {name} was being written by others all the time")


def endpoints():
    pages = ec2.get_paginator("describe_client_vpn_endpoints").paginate()
    return [found["ClientVpnEndpointId"] for page in pages for found in page["ClientVpnEndpoints"]]


def is_theirs(row, names):
    found = {(row.get(key) or "").strip().lower() for key in ("Username", "CommonName")}
    return bool(found & names) and row["Status"]["Code"] != "terminated"


def listed(endpoint, names):
    """The connections of these people on an endpoint that are alive; each is ended as soon as its page is there."""
    paginator = ec2.get_paginator("describe_client_vpn_connections")
    for page in paginator.paginate(ClientVpnEndpointId=endpoint, PaginationConfig={"PageSize": 1000}):
        for row in page["Connections"]:
            if is_theirs(row, names):
                yield row


def end(endpoint, names):
    calls, found = [], []
    for row in listed(endpoint, names):
        found.append(row["ConnectionId"])
        if row["Status"]["Code"] != "terminating":
            calls.append(pool.submit(
                ec2.terminate_client_vpn_connections, ClientVpnEndpointId=endpoint, ConnectionId=row["ConnectionId"],
            ))
    for call in calls:
        call.result()
    return found


def handler(command, _context):
    received = now()
    names = {subject.strip().lower() for subject in command["subjects"]}
    # The endpoints are asked for beside what the tables say.
    asked = pool.submit(endpoints)
    stored = read([key for name in names for key in (name, f"#head/{name}")])
    with ThreadPoolExecutor(max_workers=16) as subjects:
        list(subjects.map(lambda name: lock(name, command, received, stored.get(name)), names))
        locked = time.monotonic()
        request = lambda name: (name, record(name, "requested", command, {"names": [name]}, stored.get(f"#head/{name}")))
        heads = dict(subjects.map(request, names))
    scope = asked.result()
    ended, outcome = [], "incomplete"
    until = time.monotonic() + SETTLE + VERIFY
    with ThreadPoolExecutor(max_workers=16) as walkers:
        while time.monotonic() < until:
            begun = time.monotonic()
            found = [id for ids in walkers.map(lambda endpoint: end(endpoint, names), scope) for id in ids]
            ended += [id for id in found if id not in ended]
            if not found and begun >= locked + SETTLE:
                outcome = "completed"
                break
            time.sleep(0.25 if found else max(0.0, min(1.0, locked + SETTLE - time.monotonic())))
        detail = {"connections": ended, "endpoints": scope}
        list(walkers.map(lambda name: record(name, outcome, command, detail, heads[name]), names))
    return {"signal_id": command["id"], "outcome": outcome, "connections": ended, "endpoints": scope}
