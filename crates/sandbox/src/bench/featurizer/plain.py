"""The plain loop in Python: needs confluent-kafka and redis. Prints events and seconds."""

import json
import sys
import time
from collections import defaultdict, deque
from datetime import datetime

import redis
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

brokers, topic, url, prefix, look = sys.argv[1:]
store = redis.from_url(url)
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "sandbox-plain", "enable.auto.commit": False})
partitions = consumer.list_topics(topic).topics[topic].partitions
consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
windows = defaultdict(deque)
start, events = None, 0
while start is None or time.monotonic() - start < float(look):
    message = consumer.poll(1.0)
    if message is None or message.error():
        continue
    start = start or time.monotonic()
    event = json.loads(message.value())
    at = datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00")).timestamp()
    window = windows[event["user_id"]]
    window.append((at, event["amount"]))
    while window[0][0] <= at - 86400:
        window.popleft()
    total = sum(amount for _, amount in window)
    key = prefix + "features:" + event["user_id"]
    store.hset(
        key,
        mapping={
            "purchase_count_24h": len(window),
            "total_spend_24h": total,
            "avg_purchase_amount": total / len(window),
            "last_purchase_ts": at,
        },
    )
    store.expire(key, 172800)
    events += 1
print(events, time.monotonic() - start)
