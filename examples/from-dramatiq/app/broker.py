"""Where messages go. The move without RabbitMQ is made here, in one line."""

import os

import dramatiq

if url := os.environ.get("RABBITMQ_URL"):
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker = RabbitmqBroker(url=url)
else:
    from opscore.dramatiq import OpscoreBroker

    broker = OpscoreBroker()

dramatiq.set_broker(broker)
