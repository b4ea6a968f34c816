"""Asks the node text queries again and again, and writes every answer as a line of JSON."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rclpy
from distillnerf_msgs.srv import QueryText
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.task import Future
from rclpy.utilities import remove_ros_args

from distillnerf_ros.ros.messages import stamp_ns

EXAMPLE = """example:
  python -m distillnerf_ros.ros.asker answers.jsonl --prompts "a bus" "somebody crossing\""""

CALL_TIMEOUT_S = 20.0
"""After this time without an answer the question is asked anew: a server that has not discovered
its client yet drops the answer."""


def call(node: Node, client: Client, request: Any) -> Any | None:
    """One answer of a service, or None where none came in time."""
    future: Future = client.call_async(request)
    rclpy.spin_until_future_complete(node, future, timeout_sec=CALL_TIMEOUT_S)
    if not future.done():
        client.remove_pending_request(future)
        return None
    return future.result()


def wait_until_ready(node: Node, target: str) -> None:
    """Wait until the node is active and somebody listens to its occupancy."""
    client: Client = node.create_client(GetState, f"{target}/get_state")
    while True:
        if client.wait_for_service(timeout_sec=0.5):
            answer = call(node, client, GetState.Request())
            active = answer is not None and answer.current_state.id == State.PRIMARY_STATE_ACTIVE
            if active and node.count_subscribers(f"{target}/occupancy"):
                break
        time.sleep(0.1)
    node.destroy_client(client)


def as_record(prompts: Sequence[str], answer: QueryText.Response) -> dict[str, Any]:
    """An answer as plain values; a score of nothing in view is null."""
    return {
        "stamp_ns": stamp_ns(answer.header),
        "frame": answer.header.frame_id,
        "success": answer.success,
        "message": answer.message,
        "points": answer.points.width * answer.points.height,
        "prompts": list(prompts),
        "scores": [None if score != score else float(score) for score in answer.scores],
        "clusters": [
            {
                "prompt": cluster.prompt,
                "center_m": [cluster.center.x, cluster.center.y, cluster.center.z],
                "size_m": [cluster.size.x, cluster.size.y, cluster.size.z],
                "score": float(cluster.score),
                "count": int(cluster.count),
            }
            for cluster in answer.clusters
        ],
    }


def ask_forever(node: Node, args: argparse.Namespace) -> None:
    """Say when the node is ready, then ask once per period until interrupted."""
    wait_until_ready(node, args.node)
    client: Client = node.create_client(QueryText, f"{args.node}/query_text")
    with args.out.open("w") as stream:
        print(json.dumps({"ready": args.node}), file=stream, flush=True)
        while True:
            answer = call(node, client, QueryText.Request(prompts=args.prompts))
            if answer is not None:
                print(json.dumps(as_record(args.prompts, answer)), file=stream, flush=True)
            time.sleep(args.period)


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask until interrupted."""
    raw = list(sys.argv if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="asker",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="file of the answers, one JSON object per line")
    parser.add_argument("--prompts", nargs="+", required=True, metavar="TEXT")
    parser.add_argument("--period", type=float, default=1.0, metavar="S", help="pause in seconds")
    parser.add_argument("--node", default="/distillnerf", help="fully qualified name of the node")
    args = parser.parse_args(remove_ros_args(raw)[1:])
    rclpy.init(args=raw)
    node = rclpy.create_node("distillnerf_asker")
    try:
        ask_forever(node, args)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
