"""opscore up --python minimal_worker; opscore submit greet --input '{"name": "Ada"}' --wait"""

import opscore


@opscore.actor
def greet(name: str) -> str:
    return f"Hello, {name}!"
