#!/bin/sh
# TruthfulQA, multiple choice, LLaMA-65B: vanilla and DoLa. The paper's figures: docs/reproduce.md
# The layers are the paper's for this model and fit no other. With another model, name others too:
#   MODEL=smollm2 LAYERS=high sh recipes/tfqa-mc-65b.sh --limit 20
set -eu
OUT="${OUT:-results}/tfqa-mc-65b.json"

dola eval tfqa-mc \
    --model-name "${MODEL:-huggyllama/llama-65b}" \
    --num-gpus "${GPUS:-8}" \
    --early-exit-layers -1 \
    --early-exit-layers "${LAYERS:-60,62,64,66,68,70,72,74,76,78,80}" \
    --output-path "$OUT" \
    "$@"

dola report "$OUT" --against paper --paper-model llama-65b
