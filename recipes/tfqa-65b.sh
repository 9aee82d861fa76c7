#!/bin/sh
# TruthfulQA, open-ended, LLaMA-65B: vanilla and DoLa. The paper's figures: docs/reproduce.md
# The layers are the paper's for this model and fit no other. With another model, name others too:
#   MODEL=smollm2 LAYERS=high sh recipes/tfqa-65b.sh --limit 20
# The paper's judges are gone. These are the public ones nearest to them; each needs about 14 GB.
#   TRUTH=... INFO=... take others: a hub id, or a folder of `dola judge train`
set -eu
OUT="${OUT:-results}/tfqa-65b.json"

dola eval tfqa \
    --model-name "${MODEL:-huggyllama/llama-65b}" \
    --num-gpus "${GPUS:-8}" \
    --early-exit-layers -1 \
    --early-exit-layers "${LAYERS:-60,62,64,66,68,70,72,74,76,78,80}" \
    --output-path "$OUT" \
    "$@"

dola judge tfqa "$OUT" \
    --local-truth "${TRUTH:-allenai/truthfulqa-truth-judge-llama2-7B}" \
    --local-info "${INFO:-allenai/truthfulqa-info-judge-llama2-7B}"

dola report "$OUT" --against paper --paper-model llama-65b
