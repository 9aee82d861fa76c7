#!/bin/sh
# GSM8K, LLaMA-65B: vanilla and every second layer as the static premature layer, on the same sample as
# tune-gsm8k-65b.sh. Each layer generates all completions anew: it takes 41 times one strategy's time.
# To try it with another model, give its number of layers:
#   MODEL=smollm2 DEPTH=30 sh recipes/static-gsm8k-65b.sh --limit 20
set -eu
OUT="${OUT:-results}/static-gsm8k-65b.json"
DEPTH="${DEPTH:-80}"

layer=0
while [ "$layer" -lt "$DEPTH" ]; do
    set -- "$@" --early-exit-layers "$layer,$DEPTH"
    layer=$((layer + 2))
done

dola eval gsm8k \
    --model-name "${MODEL:-huggyllama/llama-65b}" \
    --num-gpus "${GPUS:-8}" \
    --data-version validation \
    --output-path "$OUT" \
    --early-exit-layers -1 \
    "$@"

dola report "$OUT"
