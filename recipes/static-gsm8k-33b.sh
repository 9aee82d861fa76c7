#!/bin/sh
# GSM8K, LLaMA-33B: vanilla and every second layer as the static premature layer, on the same sample as
# tune-gsm8k-33b.sh. Each layer generates all completions anew: it takes 31 times one strategy's time.
# To try it with another model, give its number of layers:
#   MODEL=smollm2 DEPTH=30 sh recipes/static-gsm8k-33b.sh --limit 20
set -eu
OUT="${OUT:-results}/static-gsm8k-33b.json"
DEPTH="${DEPTH:-60}"

layer=0
while [ "$layer" -lt "$DEPTH" ]; do
    set -- "$@" --early-exit-layers "$layer,$DEPTH"
    layer=$((layer + 2))
done

dola eval gsm8k \
    --model-name "${MODEL:-huggyllama/llama-30b}" \
    --num-gpus "${GPUS:-4}" \
    --data-version validation \
    --output-path "$OUT" \
    --early-exit-layers -1 \
    "$@"

dola report "$OUT"
