"""One process of many that launch at the same moment; prints what each launch was answered, as JSON."""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

Answer = dict[str, object]


def crowd(
    base: str, token: str, launches: list[dict[str, object]], begin_at: float
) -> list[dict[str, object]]:
    """Send ``launches`` together at the moment ``begin_at``; return status, body and seconds of each."""
    gate = threading.Barrier(len(launches))
    limits = httpx.Limits(max_connections=len(launches), max_keepalive_connections=len(launches))
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(headers=headers, limits=limits, timeout=120) as client:

        def launch(body: Answer) -> Answer:
            gate.wait(60)
            time.sleep(max(0.0, begin_at - time.time()))
            began = time.perf_counter()
            answer = client.post(f"{base}/admissions", json=body)
            return {
                "status": answer.status_code,
                "body": answer.json(),
                "seconds": time.perf_counter() - began,
            }

        with ThreadPoolExecutor(len(launches)) as pool:
            return list(pool.map(launch, launches))


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    json.dump(crowd(asked["base"], asked["token"], asked["launches"], asked["begin_at"]), sys.stdout)
