"""Plays the pipe from the audit stream to the bus, which the engine makes and does not run.

What it puts on the bus is what the template says: the record as it is, under the template's source and detail type.
"""

import base64
import datetime
import json

from template import SOURCE

PIPE = SOURCE["Resources"]["NewsPipe"]["Properties"]


class NewsPipe:
    def __init__(self, cloud):
        assert PIPE["Source"] == {"Fn::GetAtt": ["AuditTable", "StreamArn"]}
        assert PIPE["Target"] == {"Fn::GetAtt": ["Bus", "Arn"]}
        # What is not played here must not be relied on.
        assert "FilterCriteria" not in PIPE["SourceParameters"] and "InputTemplate" not in PIPE["TargetParameters"]
        self.events = cloud.client("events")
        self.streams = cloud.client("dynamodbstreams")
        self.bus = cloud.ids["Bus"]
        table = cloud.client("dynamodb").describe_table(TableName=cloud.ids["AuditTable"])["Table"]
        assert table["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
        arn = table["LatestStreamArn"]
        shards = self.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        self.iterators = [
            self.streams.get_shard_iterator(
                StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType=PIPE_START
            )["ShardIterator"]
            for shard in shards
        ]

    def carry(self):
        """Carries what has come since the last time."""
        target = PIPE["TargetParameters"]["EventBridgeEventBusParameters"]
        for number, iterator in enumerate(self.iterators):
            answer = self.streams.get_records(ShardIterator=iterator)
            self.iterators[number] = answer["NextShardIterator"]
            for record in answer["Records"]:
                entry = {
                    "Source": target["Source"],
                    "DetailType": target["DetailType"],
                    "Detail": json.dumps(record, default=plain),
                    "EventBusName": self.bus,
                }
                assert self.events.put_events(Entries=[entry])["FailedEntryCount"] == 0


PIPE_START = PIPE["SourceParameters"]["DynamoDBStreamParameters"]["StartingPosition"]


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    return base64.b64encode(value).decode()
