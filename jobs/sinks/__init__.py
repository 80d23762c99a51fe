"""Where results end up: the target that `-o` names, the merge into input order, one writer per
format.
"""
