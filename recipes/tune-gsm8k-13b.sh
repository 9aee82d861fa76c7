#!/bin/sh
# GSM8K, LLaMA-13B: vanilla and every bucket of layers, on the sample of the training file that the layers for
# GSM8K and StrategyQA are chosen on.
# To try it with another model:
#   MODEL=smollm2 sh recipes/tune-gsm8k-13b.sh --limit 20
set -eu
OUT="${OUT:-results}/tune-gsm8k-13b.json"

dola tune gsm8k \
    --model-name "${MODEL:-huggyllama/llama-13b}" \
    --num-gpus "${GPUS:-2}" \
    --output-path "$OUT" \
    "$@"

dola report "$OUT"
