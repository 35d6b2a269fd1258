"""What boto3 sees of the emulator; see aws_clients.rs for what is set up."""

import sys

import boto3
from botocore.exceptions import ClientError

URL, ENDPOINT = sys.argv[1:]
ec2 = boto3.client("ec2", endpoint_url=URL)


def connections(**more):
    pages = ec2.get_paginator("describe_client_vpn_connections").paginate(ClientVpnEndpointId=ENDPOINT, **more)
    pages = list(pages)
    assert all(len(page["Connections"]) <= 2 for page in pages), "a page is longer than the cap"
    return [row for page in pages for row in page["Connections"]]


def named(name, *values):
    return connections(Filters=[{"Name": name, "Values": list(values)}])


def end(endpoint=ENDPOINT, **target):
    return ec2.terminate_client_vpn_connections(ClientVpnEndpointId=endpoint, **target)


def modify(options, endpoint=ENDPOINT, **more):
    return ec2.modify_client_vpn_endpoint(ClientVpnEndpointId=endpoint, ClientConnectOptions=options, **more)


def connect_options():
    answer = ec2.describe_client_vpn_endpoints(ClientVpnEndpointIds=[ENDPOINT])
    return answer["ClientVpnEndpoints"][0]["ClientConnectOptions"]


def refused(code, status, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ClientError as error:
        found = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert found == (code, status), found
        assert error.response["ResponseMetadata"]["RequestId"]
        return error.response["Error"]["Message"]
    raise AssertionError(f"{code} expected, but it worked")


# endpoints
pages = ec2.get_paginator("describe_client_vpn_endpoints").paginate()
endpoints = [row for page in pages for row in page["ClientVpnEndpoints"]]
assert [row["ClientVpnEndpointId"] for row in endpoints] == [ENDPOINT, "cvpn-endpoint-tcp", "cvpn-endpoint-bare"]
first = endpoints[0]
assert first["Description"] == "staff & guests"
assert first["Status"]["Code"] == "available" and endpoints[2]["Status"]["Code"] == "pending-associate"
kinds = first["AuthenticationOptions"]
assert [kind["Type"] for kind in kinds] == ["certificate-authentication", "federated-authentication"]
assert kinds[0]["MutualAuthentication"]["ClientRootCertificateChain"].startswith("arn:")
assert kinds[1]["FederatedAuthentication"]["SamlProviderArn"].startswith("arn:")
assert first["ClientConnectOptions"]["Enabled"] is True
assert first["ClientConnectOptions"]["LambdaFunctionArn"].endswith("AWSClientVPN-gate")
assert first["SessionTimeoutHours"] == 24 and first["VpnPort"] == 443
assert first["ConnectionLogOptions"] == {"Enabled": False}
tcp = ec2.describe_client_vpn_endpoints(Filters=[{"Name": "transport-protocol", "Values": ["tcp"]}])
assert [row["ClientVpnEndpointId"] for row in tcp["ClientVpnEndpoints"]] == ["cvpn-endpoint-tcp"]

# connections
rows = connections()
assert len(rows) == 12
assert "Username" not in rows[4] and rows[4]["CommonName"] == "build-agent"
assert rows[11]["Username"] == "<o'hara>&\ufffd"
assert all(row["Status"]["Code"] == "active" and row["ConnectionEndTime"] == "-" for row in rows)
assert rows[0]["ConnectionEstablishedTime"] == "2026-01-01 00:00:00" and rows[0]["IngressBytes"].isdigit()
assert len(named("username", "alice@example.com")) == 1, "values are case-sensitive"
assert len(named("username", "alice@example.com", "bob@example.com")) == 3
assert named("connection-id", rows[2]["ConnectionId"])[0]["Username"] == "bob@example.com"

# terminate
answer = end(ConnectionId=rows[0]["ConnectionId"])
assert answer["ConnectionStatuses"] == [
    {
        "ConnectionId": rows[0]["ConnectionId"],
        "PreviousStatus": {"Code": "active"},
        "CurrentStatus": {"Code": "terminating"},
    }
], answer
answer = end(Username="bob@example.com")
assert answer["Username"] == "bob@example.com" and len(answer["ConnectionStatuses"]) == 2
assert [row["Status"]["Code"] for row in connections()[:4]] == ["terminating", "active", "terminating", "terminating"]

# modify
gate = connect_options()["LambdaFunctionArn"]
on, off = {"Enabled": True, "LambdaFunctionArn": gate}, {"Enabled": False}
assert connect_options() == {**on, "Status": {"Code": "applied"}}
assert modify(off)["Return"] is True
assert connect_options() == {**off, "Status": {"Code": "applying"}}
assert modify(on)["Return"] is True
assert connect_options() == {**on, "Status": {"Code": "applying"}}

# refusals
refused("MissingParameter", 400, modify, {"Enabled": True})
misnamed = {**on, "LambdaFunctionArn": gate.replace("AWSClientVPN-", "")}
refused("InvalidParameterValue", 400, modify, misnamed)
refused("UnknownParameter", 400, modify, off, SessionTimeoutHours=8)
refused("DryRunOperation", 412, modify, off, DryRun=True)
refused("InvalidClientVpnEndpointId.NotFound", 400, modify, off, "cvpn-endpoint-9")
refused("ClientVpnTerminateConnectionsLimitExceeded", 400, end, Username="carol")
refused("InvalidClientVpnConnection.UserNotFound", 400, end, Username="bob@example.com")
refused("InvalidClientVpnConnection.IdNotFound", 400, end, ConnectionId="cvpn-connection-9")
refused("MissingParameter", 400, end)
refused("InvalidParameterCombination", 400, end, Username="a", ConnectionId="b")
refused("DryRunOperation", 412, end, Username="carol", DryRun=True)
message = refused("InvalidClientVpnEndpointId.NotFound", 400, end, "cvpn-endpoint-9", Username="carol")
assert message == "Endpoint cvpn-endpoint-9 does not exist", message
refused("InvalidClientVpnActiveAssociationNotFound", 400, end, "cvpn-endpoint-bare", Username="carol")
refused("InvalidFilter", 400, named, "status", "active")
refused("FilterLimitExceeded", 400, named, "username", *(f"user-{n}" for n in range(201)))
listing = ec2.describe_client_vpn_connections
refused("InvalidPaginationToken", 400, listing, ClientVpnEndpointId=ENDPOINT, NextToken="made-up")
refused("InvalidParameterValue", 400, listing, ClientVpnEndpointId=ENDPOINT, MaxResults=1001)
refused("InvalidAction", 400, ec2.describe_vpcs)
