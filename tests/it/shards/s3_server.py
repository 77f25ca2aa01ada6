"""A bucket on a loopback port until standard input closes; prints its address."""

import sys

import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
boto3.client(
    "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
).create_bucket(Bucket="bucket")
print(url, flush=True)
sys.stdin.read()
server.stop()
