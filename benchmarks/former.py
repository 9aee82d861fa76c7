"""Transformers' former built-in DoLa, timed; decode.py runs it with an interpreter that has 4.53.3.

former.py MODEL_FOLDER NEW_TOKENS THREADS  < prompt ids as JSON  > timing as JSON
"""

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

folder, new_tokens, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
ids = torch.tensor(json.load(sys.stdin))


def run(count: int) -> float:
    start = time.perf_counter()
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=count,
        min_new_tokens=count,
        do_sample=False,
        pad_token_id=0,
        dola_layers="low",
    )
    return time.perf_counter() - start


run(4)
first, whole = run(1), run(new_tokens)
print(
    json.dumps(
        {
            "first_token_s": first,
            "per_token_s": (whole - first) / (new_tokens - 1),
            "tokens_per_s": ids.shape[0] * new_tokens / whole,
        }
    )
)
