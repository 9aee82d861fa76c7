#!/bin/sh
# Vicuna QA, LLaMA-7B: vanilla against DoLa, compared in pairs.
# The paper's is a figure of GPT-4's scores, without a table: docs/reproduce.md
# The layers are the paper's for this model and fit no other. With another model, name others too:
#   QUESTIONS=5 MODEL=smollm2 LAYERS=low sh recipes/vicuna-7b.sh
# JUDGE is a model at the endpoint of OPENAI_BASE_URL (or OpenAI); the key is taken from OPENAI_API_KEY.
set -eu
OUT="${OUT:-results}/vicuna-7b"
JUDGE="${JUDGE:-gpt-4}"
QUESTIONS="${QUESTIONS:-80}"

dola eval vicuna \
    --model-name "${MODEL:-huggyllama/llama-7b}" \
    --num-gpus "${GPUS:-1}" \
    --model-id llama-7b-vanilla \
    --template released \
    --early-exit-layers -1 \
    --limit "$QUESTIONS" \
    --answer-file "$OUT-vanilla.jsonl" \
    "$@"

dola eval vicuna \
    --model-name "${MODEL:-huggyllama/llama-7b}" \
    --num-gpus "${GPUS:-1}" \
    --model-id llama-7b-dola \
    --template released \
    --early-exit-layers "${LAYERS:-0,2,4,6,8,10,12,14,32}" \
    --limit "$QUESTIONS" \
    --answer-file "$OUT-dola.jsonl" \
    "$@"

dola judge pairwise \
    --answer-file "$OUT-vanilla.jsonl" "$OUT-dola.jsonl" \
    --first-n "$QUESTIONS" \
    --judge-model "$JUDGE" \
    --output-path "$OUT-review.jsonl"
