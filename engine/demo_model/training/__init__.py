"""How the demo model was made: data generator, tokenizer, training loop, evaluation.

Owns: everything that turns a seed into the shipped weights. Must not know: jobs, worker, the
held-out suite (its vocabulary and templates live in `jobs/evals/demo` and share nothing with this).
"""
