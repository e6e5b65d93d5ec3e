"""A worker of Dramatiq that takes messages of a queue and holds them."""

from harness.dramatiq_worker import DramatiqWorker

HOLDING = """
    import os, threading
    import dramatiq
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    dramatiq.set_broker(RabbitmqBroker(url=os.environ["RABBITMQ_URL"]))

    @dramatiq.actor(queue_name=os.environ["QUEUE"])
    def slow():
        threading.Event().wait()
"""


def start_holder(folder, url, queue, send=True):
    """Returns when it takes messages, one of which it was sent itself unless `send` is false."""
    worker = DramatiqWorker(folder, HOLDING, {"RABBITMQ_URL": url, "QUEUE": queue})
    worker.start()
    if send:
        worker.run("app.slow.send()")
    return worker
