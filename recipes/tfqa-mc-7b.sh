#!/bin/sh
# TruthfulQA, multiple choice, LLaMA-7B: vanilla and DoLa. The paper's figures: docs/reproduce.md
# The layers are the paper's for this model and fit no other. With another model, name others too:
#   MODEL=smollm2 LAYERS=high sh recipes/tfqa-mc-7b.sh --limit 20
set -eu
OUT="${OUT:-results}/tfqa-mc-7b.json"

dola eval tfqa-mc \
    --model-name "${MODEL:-huggyllama/llama-7b}" \
    --num-gpus "${GPUS:-1}" \
    --early-exit-layers -1 \
    --early-exit-layers "${LAYERS:-16,18,20,22,24,26,28,30,32}" \
    --output-path "$OUT" \
    "$@"

dola report "$OUT" --against paper --paper-model llama-7b
