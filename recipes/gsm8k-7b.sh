#!/bin/sh
# GSM8K, LLaMA-7B: vanilla and DoLa. The paper's figures: docs/reproduce.md
# The layers are the paper's for this model and fit no other. With another model, name others too:
#   MODEL=smollm2 LAYERS=low sh recipes/gsm8k-7b.sh --limit 20
set -eu
OUT="${OUT:-results}/gsm8k-7b.json"

dola eval gsm8k \
    --model-name "${MODEL:-huggyllama/llama-7b}" \
    --num-gpus "${GPUS:-1}" \
    --early-exit-layers -1 \
    --early-exit-layers "${LAYERS:-0,2,4,6,8,10,12,14,32}" \
    --output-path "$OUT" \
    "$@"

dola report "$OUT" --against paper --paper-model llama-7b
