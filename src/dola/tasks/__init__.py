"""The paper's benchmarks: text in, requests out; answers' scores in, metrics out. No torch in this room."""
