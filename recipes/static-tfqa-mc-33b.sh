#!/bin/sh
# TruthfulQA, multiple choice, LLaMA-33B: every single static premature layer, the buckets, and vanilla.
# To try it with another model:
#   MODEL=smollm2 sh recipes/static-tfqa-mc-33b.sh --limit 20
set -eu
OUT="${OUT:-results}/static-tfqa-mc-33b.json"

dola tune tfqa-mc \
    --model-name "${MODEL:-huggyllama/llama-30b}" \
    --num-gpus "${GPUS:-4}" \
    --output-path "$OUT" \
    "$@"

dola report "$OUT" --against paper --paper-model llama-33b
