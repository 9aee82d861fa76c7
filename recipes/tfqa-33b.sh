#!/bin/sh
# TruthfulQA, open-ended, LLaMA-33B: vanilla and DoLa. The paper's figures: docs/reproduce.md
# The layers are the paper's for this model and fit no other. With another model, name others too:
#   MODEL=smollm2 LAYERS=high sh recipes/tfqa-33b.sh --limit 20
# The paper's judges are gone. These are the public ones nearest to them; each needs about 14 GB.
#   TRUTH=... INFO=... take others: a hub id, or a folder of `dola judge train`
set -eu
OUT="${OUT:-results}/tfqa-33b.json"

dola eval tfqa \
    --model-name "${MODEL:-huggyllama/llama-30b}" \
    --num-gpus "${GPUS:-4}" \
    --early-exit-layers -1 \
    --early-exit-layers "${LAYERS:-40,42,44,46,48,50,52,54,56,58,60}" \
    --output-path "$OUT" \
    "$@"

dola judge tfqa "$OUT" \
    --local-truth "${TRUTH:-allenai/truthfulqa-truth-judge-llama2-7B}" \
    --local-info "${INFO:-allenai/truthfulqa-info-judge-llama2-7B}"

dola report "$OUT" --against paper --paper-model llama-33b
