"""Holds the quickstart's figures against what the project promises: ``check_quickstart.py METRICS_JSON``."""

import json
import sys
from pathlib import Path

result = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
models = result["models"]
ndcg = {name: model["quality"]["test"]["ndcg@10"] for name, model in models.items()}
intervals = {row["name"]: row for row in result["comparisons"]}
checks = {
    "the teacher has at least twice popularity's NDCG@10": ndcg["teacher"] >= 2 * ndcg["popularity"],
    "the student beats popularity": ndcg["student"] > ndcg["popularity"],
    "the student beats its control, beyond chance": intervals["student - student_control"]["low"] > 0,
    "the student keeps 90 % of its teacher": ndcg["student"] >= 0.9 * ndcg["teacher"],
    "int8 loses at most 1 %": ndcg["student_int8"] >= 0.99 * ndcg["student"],
    "int8 is at most a third of the student's bytes": 3 * models["student_int8"]["cost"]["bytes_resident"]
    <= models["student"]["cost"]["bytes_resident"],
}
for check, holds in checks.items():
    print("ok  " if holds else "FAIL", check)
print({name: round(value, 4) for name, value in ndcg.items()})
sys.exit(not all(checks.values()))
