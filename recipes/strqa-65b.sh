#!/bin/sh
# StrategyQA, LLaMA-65B: vanilla and DoLa. The paper's figures: docs/reproduce.md
# The layers are the paper's for this model and fit no other. With another model, name others too:
#   MODEL=smollm2 LAYERS=low sh recipes/strqa-65b.sh --limit 20
set -eu
OUT="${OUT:-results}/strqa-65b.json"

dola eval strqa \
    --model-name "${MODEL:-huggyllama/llama-65b}" \
    --num-gpus "${GPUS:-8}" \
    --early-exit-layers -1 \
    --early-exit-layers "${LAYERS:-0,2,4,6,8,10,12,14,16,18,80}" \
    --output-path "$OUT" \
    "$@"

dola report "$OUT" --against paper --paper-model llama-65b
