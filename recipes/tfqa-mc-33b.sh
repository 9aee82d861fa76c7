#!/bin/sh
# TruthfulQA, multiple choice, LLaMA-33B: vanilla and DoLa. The paper's figures: docs/reproduce.md
# The layers are the paper's for this model and fit no other. With another model, name others too:
#   MODEL=smollm2 LAYERS=high sh recipes/tfqa-mc-33b.sh --limit 20
set -eu
OUT="${OUT:-results}/tfqa-mc-33b.json"

dola eval tfqa-mc \
    --model-name "${MODEL:-huggyllama/llama-30b}" \
    --num-gpus "${GPUS:-4}" \
    --early-exit-layers -1 \
    --early-exit-layers "${LAYERS:-40,42,44,46,48,50,52,54,56,58,60}" \
    --output-path "$OUT" \
    "$@"

dola report "$OUT" --against paper --paper-model llama-33b
