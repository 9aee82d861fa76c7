#!/bin/sh
# StrategyQA, LLaMA-33B: vanilla and DoLa. The paper's figures: docs/reproduce.md
# The layers are the paper's for this model and fit no other. With another model, name others too:
#   MODEL=smollm2 LAYERS=low sh recipes/strqa-33b.sh --limit 20
set -eu
OUT="${OUT:-results}/strqa-33b.json"

dola eval strqa \
    --model-name "${MODEL:-huggyllama/llama-30b}" \
    --num-gpus "${GPUS:-4}" \
    --early-exit-layers -1 \
    --early-exit-layers "${LAYERS:-0,2,4,6,8,10,12,14,16,18,60}" \
    --output-path "$OUT" \
    "$@"

dola report "$OUT" --against paper --paper-model llama-33b
