"""Calls a simulated Bedrock with boto3 and prints the replies. Argument: the URL of the endpoint."""

import sys

import boto3
from botocore.config import Config

client = boto3.client(
    "bedrock-runtime",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="a",
    aws_secret_access_key="b",
    config=Config(retries={"total_max_attempts": 1}),
)
messages = [{"role": "user", "content": [{"text": "hello"}]}]

reply = client.converse(
    modelId="us.amazon.nova-2-lite-v1:0",
    messages=messages,
    inferenceConfig={"maxTokens": 100},
    serviceTier={"type": "flex"},
)
usage = reply["usage"]
print(
    f"converse: {reply['stopReason']}, {usage['inputTokens']} in, {usage['outputTokens']} out,"
    f" {usage['totalTokens']} total, tier {reply['serviceTier']['type']},"
    f" latency {'ok' if reply['metrics']['latencyMs'] >= 5 else 'too small'},"
    f" id {'ok' if reply['ResponseMetadata']['RequestId'] else 'missing'}"
)

stream = client.converse_stream(
    modelId="us.amazon.nova-2-lite-v1:0", messages=messages, serviceTier={"type": "priority"}
)
kinds, metadata = [], None
for event in stream["stream"]:
    kind = next(iter(event))
    if not kinds or kinds[-1] != kind:
        kinds.append(kind)
    metadata = event.get("metadata", metadata)
print(f"stream: {', '.join(kinds)}; {metadata['usage']['outputTokens']} out, tier {metadata['serviceTier']['type']}")

try:
    client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": " "}]}])
except client.exceptions.ValidationException as error:
    print(f"refused: {error.response['Error']['Code']}")
