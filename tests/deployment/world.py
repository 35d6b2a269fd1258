"""Everything that the stack stands in: the engine that plays AWS, Client VPN, and the deployment itself."""

import copy
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import boto3
from botocore.config import Config
from samcli.yamlhelper import yaml_dump

from front import Front
from template import BUILT, ROOT, load, of_type

REGION, ACCOUNT, STACK, BUCKET = "eu-west-1", "111122223333", "vpn-revoker", "artifacts"

# Short, so that the tests need not wait for what EC2 needs; everything else as a user would set it.
PARAMETERS = {
    "Mode": "enforce",
    "SettleSeconds": "0",
    "VerifySeconds": "5",
    "AuditTopic": "decisions",
    "OktaEventBus": "aws.partner/okta.com/example-corp/system-log",
    "GuardDuty": "yes",
    "Protected": "break-glass*",
}


def left_out(resource):
    """What the engine lacks. Such a resource stays in the template, under a condition that is false here."""
    if resource["Type"] == "AWS::SSM::Document":
        return "it knows no AWS::SSM::Document"
    if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]:
        return "it knows no alarm on a query or an expression"
    if resource["Type"] == "AWS::Logs::LogStream":
        return "it knows no AWS::Logs::LogStream"
    return None


def prepared(ec2, dynamodb):
    """The built template with EC2 and DynamoDB redirected, and what was left out of it and why."""
    template = copy.deepcopy(load(BUILT / "template.yaml"))
    template["Conditions"]["OnlyOnAws"] = {"Fn::Equals": ["the engine", "AWS"]}
    without = {}
    for name, resource in template["Resources"].items():
        if why := left_out(resource):
            without[name] = why
            resource["Condition"] = "OnlyOnAws"
    for output in template["Outputs"].values():
        if output["Value"].get("Ref") in without:
            output["Condition"] = "OnlyOnAws"
    for function in of_type(template, "AWS::Serverless::Function").values():
        properties = function["Properties"]
        properties["CodeUri"] = str(BUILT / properties["CodeUri"])
        variables = properties["Environment"]["Variables"]
        variables |= {"AWS_ENDPOINT_URL_EC2": ec2, "AWS_ENDPOINT_URL_DYNAMODB": dynamodb}
    return template, without


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(look, what, seconds=120):
    """The first answer of `look` that is true. The limit is there for the day on which none comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := look():
            return answer
        time.sleep(0.2)
    raise AssertionError(f"in {seconds} s it never came to this: {what}; last seen: {answer!r}")


class ClientVpn:
    """The emulator of Client VPN, as a process."""

    def __init__(self):
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        command = [target / "debug" / "client-vpn-emulator", "--port", "0", "--terminate-delay", "1s"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines = (line for line in self.process.stdout if "AWS_ENDPOINT_URL_EC2=" in line)
        self.url = next(lines).strip().split("=", 1)[1]
        self.endpoint = self.control("POST", "endpoints", {})["endpoint_id"]

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_emulator/{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def connect(self, username):
        self.control("POST", "connections", {"endpoint_id": self.endpoint, "username": username})

    def alive(self, username):
        rows = self.control("GET", "state")["connections"]
        return [row for row in rows if row["username"] == username and row["status"] != "terminated"]


class Cloud:
    """The engine, Client VPN and, once `deploy` is through, the stack."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = os.environ | {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "LAMBDA_EXECUTOR": "local",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "SFN_WAIT_SCALE": "0.01",
            "DOCKER_HOST": "unix:///nonexistent",
            "NO_PROXY": "127.0.0.1,localhost",
            "STATE_DIR": str(scratch / "state"),
            "S3_DATA_DIR": str(scratch / "s3"),
            "TMPDIR": str(scratch),
        }
        self.log = open(scratch / "engine.log", "w")
        command = [sys.executable, "-m", "ministack"]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=subprocess.STDOUT)
        self.front = Front(self.port)
        self.vpn = ClientVpn()

    def start(self):
        """Waits until everything answers."""
        until(self.healthy, "the engine answers")

    def healthy(self):
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=2):
                return True
        except OSError:
            return False

    def client(self, service):
        retries = Config(retries={"max_attempts": 3})
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="emulated",
            config=retries,
        )

    def deploy(self):
        """What `sam deploy` does for a user, with the template that `sam build` made."""
        template, self.without = prepared(self.vpn.url, self.front.url)
        (self.scratch / "template.yaml").write_text(yaml_dump(template))
        self.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        done = self.sam_deploy(STACK, PARAMETERS)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.engine_log()}"
        rows = self.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
        self.ids = {row["LogicalResourceId"]: row["PhysicalResourceId"] for row in rows}
        self.give_what_the_engine_dropped(template)

    def sam_deploy(self, stack, parameters):
        environment = os.environ | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "SAM_CLI_TELEMETRY": "0",
        }
        overrides = [f"{key}={value}" for key, value in parameters.items()]
        command = ["sam", "deploy", "--template-file", self.scratch / "template.yaml", "--stack-name", stack]
        command += ["--region", REGION, "--s3-bucket", BUCKET, "--capabilities", "CAPABILITY_IAM", "--no-progressbar"]
        command += ["--parameter-overrides", *overrides]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, cwd=self.scratch, timeout=300
        )

    def deploy_target(self):
        """target.yaml beside the home stack, with the package of the connect handler; its outputs."""
        template = copy.deepcopy(load(ROOT / "target.yaml"))
        template["Conditions"]["OnlyOnAws"] = {"Fn::Equals": ["the engine", "AWS"]}
        for resource in template["Resources"].values():
            if left_out(resource):
                resource["Condition"] = "OnlyOnAws"
        variables = template["Resources"]["ConnectHandler"]["Properties"]["Environment"]["Variables"]
        variables["AWS_ENDPOINT_URL_DYNAMODB"] = self.front.url
        package = next((ROOT / "dist").glob("connect-handler-x86_64.zip"))
        self.client("s3").upload_file(str(package), BUCKET, package.name)
        formation = self.client("cloudformation")
        home = {row["OutputKey"]: row["OutputValue"] for row in formation.describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]}
        parameters = {
            "HomeRoleArn": home["RevokerRoleArn"],
            "ExternalId": "5f0c2a1e-0d51-11f1-8c1e-0123456789ab",
            "HandlerBucket": BUCKET,
            "HandlerKey": package.name,
            "HandlerName": "AWSClientVPN-elsewhere",
            "LocksTableArn": home["LocksTableArn"],
            "AuditTableArn": home["AuditTableArn"],
            "Mode": "enforce",
        }
        formation.create_stack(
            StackName="target",
            TemplateBody=yaml_dump(template),
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )

        def made():
            stack = formation.describe_stacks(StackName="target")["Stacks"][0]
            assert "ROLLBACK" not in stack["StackStatus"], stack
            return stack["StackStatus"] == "CREATE_COMPLETE" and stack

        return {row["OutputKey"]: row["OutputValue"] for row in until(made, "target.yaml is deployed")["Outputs"]}

    def give_what_the_engine_dropped(self, template):
        """It makes queues without their redrive policy. The test's is shorter than the template's 25 minutes."""
        policy = template["Resources"]["Signals"]["Properties"]["RedrivePolicy"]
        assert policy["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetters", "Arn"]}
        sqs = self.client("sqs")
        arn = sqs.get_queue_attributes(QueueUrl=self.ids["DeadLetters"], AttributeNames=["QueueArn"])
        redrive = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": 2}
        attributes = {"RedrivePolicy": json.dumps(redrive), "VisibilityTimeout": "3"}
        sqs.set_queue_attributes(QueueUrl=self.ids["Signals"], Attributes=attributes)

    def engine_log(self):
        self.log.flush()
        return (self.scratch / "engine.log").read_text()[-4000:]

    def stop(self):
        self.front.stop()
        for process in (self.vpn.process, self.process):
            process.terminate()
            process.wait(timeout=20)

    # What a user sees of it.

    def invoke(self, function, payload):
        answer = self.client("lambda").invoke(FunctionName=self.ids[function], Payload=json.dumps(payload))
        return answer.get("FunctionError"), json.loads(answer["Payload"].read())

    def send(self, body):
        text = body if isinstance(body, str) else json.dumps(body)
        self.client("sqs").send_message(QueueUrl=self.ids["Signals"], MessageBody=text)

    def waiting(self, queue):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.client("sqs").get_queue_attributes(QueueUrl=self.ids[queue], AttributeNames=names)
        return sum(int(count) for count in answer["Attributes"].values())

    def entries(self, subject):
        answer = self.client("dynamodb").query(
            TableName=self.ids["AuditTable"],
            KeyConditionExpression="subject = :s",
            ExpressionAttributeValues={":s": {"S": subject}},
        )
        return answer["Items"]

    def kinds(self, subject, signal=None):
        """The kinds of the entries about a subject, in order; with `signal`, of those of that signal."""
        entries = self.entries(subject)
        return [entry["kind"]["S"] for entry in entries if signal in (None, entry["signal_id"]["S"])]

    def listen(self, topic):
        """A queue that hears what is published on a topic of the stack."""
        sqs = self.client("sqs")
        queue = sqs.create_queue(QueueName=f"hears-{topic.lower()}")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        raw = {"RawMessageDelivery": "true"}
        self.client("sns").subscribe(TopicArn=self.ids[topic], Protocol="sqs", Endpoint=arn, Attributes=raw)
        return queue

    def heard(self, queue):
        answer = self.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        for message in answer.get("Messages", []):
            self.client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in answer.get("Messages", [])]
