"""A small front before the engine's DynamoDB, for what it does not know as AWS does.

The audit trail is written with ExecuteTransaction. The engine takes no second `SET` in an UPDATE and tells no stream of
what PartiQL writes, so the front says the same to it as TransactWriteItems: an INSERT that may meet no item, an UPDATE
under its conditions. A table's ARN, which it does not take for the table, becomes the table's name. Everything else goes
through as it is.
"""

import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EXECUTE, WRITE = "DynamoDB_20120810.ExecuteTransaction", "DynamoDB_20120810.TransactWriteItems"

ARN = re.compile(rb"arn:aws:dynamodb:[a-z0-9-]+:\d{12}:table/")


def as_writes(transaction):
    return {"TransactItems": [as_write(s["Statement"], s["Parameters"]) for s in transaction["TransactStatements"]]}


def as_write(statement, parameters):
    if insert := re.fullmatch(r'INSERT INTO "([^"]+)" VALUE \{(.+)\}', statement):
        table, fields = insert.groups()
        item = dict(zip(re.findall(r"'([^']+)': \?", fields), parameters, strict=True))
        return {"Put": {"TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(subject)"}}
    update = re.fullmatch(r'UPDATE "([^"]+)" (SET .+) WHERE (.+)', statement)
    assert update, f"a statement that is new to the front: {statement}"
    table, assignments, conditions = update.groups()
    sets = re.findall(r'SET "(\w+)"=\?', assignments)
    wheres = re.findall(r'"(\w+)"=\?', conditions)
    before = dict(zip(wheres, parameters[len(sets) :], strict=True))
    names = {f"#{name}": name for name in {*sets, *wheres} - {"subject"}}
    values = {f":new_{name}": value for name, value in zip(sets, parameters)}
    values |= {f":old_{name}": value for name, value in before.items() if name != "subject"}
    return {
        "Update": {
            "TableName": table,
            "Key": {"subject": before["subject"]},
            "UpdateExpression": "SET " + ", ".join(f"#{name} = :new_{name}" for name in sets),
            "ConditionExpression": " AND ".join(f"#{name} = :old_{name}" for name in before if name != "subject"),
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
    }


class Front:
    """Listens on a free port of loopback, before the engine on `port`."""

    def __init__(self, port):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                body = ARN.sub(b"", body)
                headers = {key: value for key, value in self.headers.items() if key.lower() != "content-length"}
                if self.headers["X-Amz-Target"] == EXECUTE:
                    body = json.dumps(as_writes(json.loads(body))).encode()
                    headers = {key: WRITE if value == EXECUTE else value for key, value in headers.items()}
                engine = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                engine.request("POST", self.path, body, headers)
                answer = engine.getresponse()
                content = answer.read()
                engine.close()
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    if key.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
