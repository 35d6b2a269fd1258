"""The `connect-handler` function as a good engineer would write it in Python: one read, one answer."""

import os

import boto3
from botocore.config import Config

LOCKS = os.environ["VPN_REVOKER_LOCKS_TABLE"]
DENY = "Access to the VPN has been revoked. Contact your security team."
dynamodb = boto3.client("dynamodb", config=Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=1, read_timeout=1))


def handler(request, _context):
    names = {(request.get(key) or "").strip().lower() for key in ("username", "common-name")} - {""}
    allowed = True
    if names:
        keys = [{"subject": {"S": name}} for name in names]
        try:
            found = dynamodb.batch_get_item(RequestItems={LOCKS: {"Keys": keys, "ConsistentRead": True}})
            allowed = not any(lock["state"]["S"] == "locked" for lock in found["Responses"][LOCKS])
        except Exception as error:
            print(f"the locks could not be read: {error}")
            allowed = False
    return {
        "allow": allowed,
        "error-msg-on-denied-connection": "" if allowed else DENY,
        "posture-compliance-statuses": [],
        "schema-version": request.get("schema-version", "v2"),
    }
