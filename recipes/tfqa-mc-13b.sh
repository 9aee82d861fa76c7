#!/bin/sh
# TruthfulQA, multiple choice, LLaMA-13B: vanilla and DoLa. The paper's figures: docs/reproduce.md
# The layers are the paper's for this model and fit no other. With another model, name others too:
#   MODEL=smollm2 LAYERS=high sh recipes/tfqa-mc-13b.sh --limit 20
set -eu
OUT="${OUT:-results}/tfqa-mc-13b.json"

dola eval tfqa-mc \
    --model-name "${MODEL:-huggyllama/llama-13b}" \
    --num-gpus "${GPUS:-2}" \
    --early-exit-layers -1 \
    --early-exit-layers "${LAYERS:-20,22,24,26,28,30,32,34,36,38,40}" \
    --output-path "$OUT" \
    "$@"

dola report "$OUT" --against paper --paper-model llama-13b
