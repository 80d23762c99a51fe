"""The rules of equality, one file for each kind of answer.

Every scorer has two functions: one refuses a reference that it cannot use (ValueError), before
anything runs; the other compares an answer with it and returns what is wrong, "" if nothing.
"""
