#!/bin/sh
# TruthfulQA, open-ended, LLaMA-13B: vanilla and DoLa. The paper's figures: docs/reproduce.md
# The layers are the paper's for this model and fit no other. With another model, name others too:
#   MODEL=smollm2 LAYERS=high sh recipes/tfqa-13b.sh --limit 20
# The paper's judges are gone. These are the public ones nearest to them; each needs about 14 GB.
#   TRUTH=... INFO=... take others: a hub id, or a folder of `dola judge train`
set -eu
OUT="${OUT:-results}/tfqa-13b.json"

dola eval tfqa \
    --model-name "${MODEL:-huggyllama/llama-13b}" \
    --num-gpus "${GPUS:-2}" \
    --early-exit-layers -1 \
    --early-exit-layers "${LAYERS:-20,22,24,26,28,30,32,34,36,38,40}" \
    --output-path "$OUT" \
    "$@"

dola judge tfqa "$OUT" \
    --local-truth "${TRUTH:-allenai/truthfulqa-truth-judge-llama2-7B}" \
    --local-info "${INFO:-allenai/truthfulqa-info-judge-llama2-7B}"

dola report "$OUT" --against paper --paper-model llama-13b
