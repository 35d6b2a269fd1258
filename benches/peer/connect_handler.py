"""The `connect-handler` function as a good engineer would write it in Python: one read, one answer."""

import os

import boto3
from botocore.config import Config

LOCKS = os.environ["VPN_REVOKER_LOCKS_TABLE"]
DENY = "Access to the VPN has been revoked. Contact your security team."
dynamodb = boto3.client("dynamodb", config=Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=1, read_timeout=1))


def locks(names):
    wanted = {LOCKS: {"Keys": [{"subject": {"S": name}} for name in names], "ConsistentRead": True}}
    while wanted:
        found = dynamodb.batch_get_item(RequestItems=wanted)
        yield from found["Responses"].get(LOCKS, [])
        wanted = found["UnprocessedKeys"]


def handler(request, _context):
    names = {(request.get(key) or "").strip().lower() for key in ("username", "common-name")} - {""}
    allowed = True
    if names:
        try:
            allowed = not any(lock["state"]["S"] == "locked" for lock in locks(names))
        except Exception as error:
            print(f"the locks could not be read: {error}")
            allowed = False
    return {
        "allow": allowed,
        "error-msg-on-denied-connection": "" if allowed else DENY,
        "posture-compliance-statuses": [],
        "schema-version": request.get("schema-version", "v2"),
    }
