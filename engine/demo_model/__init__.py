"""The model that runs when none is given: tiny, built on this machine, no download.

Owns: its recipe. Must not know: the engine. It is an ordinary checkpoint of transformers (Qwen3
config, byte-level BPE tokenizer, ChatML template with tools and reasoning), so the ordinary loading
path runs it. Its weights are random: it shows that everything works, not what a model can say.
"""
